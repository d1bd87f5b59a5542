"""Tracks of other programs, read and written: one file a format, `TrackData` between them.

`kinocyte.interop.tracks.formats.read_tracks` recognises a file by what it holds, `write_tracks` writes one.
"""
