"""Layers: descriptions without arrays, and what gives them arrays (Weights, Workspace)."""

from .activation import ELU, GELU, Activation, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from .batch_norm import BatchNorm
from .dropout import Dropout
from .frame import Frame
from .layer import Average, Layer, Param
from .linear import Linear
from .sequential import Sequential
from .weights import Weights
from .workspace import Workspace

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Average",
    "BatchNorm",
    "Dropout",
    "Frame",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Param",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Weights",
    "Workspace",
]
