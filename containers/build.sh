#!/bin/sh
# Builds the image for the processor without a daemon and without a registry of images: Debian from its mirrors, the rest
# from PyPI. From the root of the repository, as root (or within `buildah unshare`), with debootstrap and buildah:
#
#   containers/build.sh kinocyte [OPTIONS OF buildah build]
#   podman run --rm -v "$PWD:/data" kinocyte run pipeline.toml mine.zarr
#
# ROOT may name a Debian that is unpacked already, MIRROR and SUITE where the new one is from. Where no user namespaces are
# allowed, set BUILDAH_ISOLATION=chroot; where no overlay can be mounted, STORAGE_DRIVER=vfs.
set -eu
name=${1:?name the image}
shift
if [ -z "${ROOT:-}" ]; then
    work=$(mktemp -d)
    trap 'rm -rf --one-file-system "$work"' EXIT
    ROOT=$work/debian
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        "${SUITE:-bookworm}" "$ROOT" "${MIRROR:-http://deb.debian.org/debian}"
    rm -rf "$ROOT"/var/cache/apt/archives/*.deb "$ROOT"/var/lib/apt/lists/*
fi
base=$(buildah from scratch)
buildah add --quiet "$base" "$ROOT" /
buildah commit --quiet --rm "$base" "$name-base"
buildah build --build-arg BASE="localhost/$name-base" --file containers/Containerfile --tag "$name" "$@" .
