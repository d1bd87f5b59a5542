"""Background, illumination, bleaching, channel offset and denoising: arrays in, arrays out."""

from __future__ import annotations

from kinocyte.restoration.base import BackgroundRestorer, Movie, Restorer, State
from kinocyte.restoration.bleaching import Bleaching
from kinocyte.restoration.chain import Chain, RestoredMovie, fit_chain
from kinocyte.restoration.channel_offset import ChannelOffset
from kinocyte.restoration.denoising import Bilateral, Gaussian, Median, NonLocalMeans, TotalVariation, Wavelet
from kinocyte.restoration.flat_field import FlatField
from kinocyte.restoration.illumination import Illumination
from kinocyte.restoration.media_change import MediaChange
from kinocyte.restoration.model_fit import ModelFit
from kinocyte.restoration.model_free import ModelFree
from kinocyte.restoration.rolling_ball import RollingBall, TopHat

__all__ = [
    "BackgroundRestorer",
    "Bilateral",
    "Bleaching",
    "Chain",
    "ChannelOffset",
    "FlatField",
    "Gaussian",
    "Illumination",
    "MediaChange",
    "Median",
    "ModelFit",
    "ModelFree",
    "Movie",
    "NonLocalMeans",
    "RestoredMovie",
    "Restorer",
    "RollingBall",
    "State",
    "TopHat",
    "TotalVariation",
    "Wavelet",
    "fit_chain",
]
