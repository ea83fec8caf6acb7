"""Layers: descriptions without arrays, and what gives them arrays (Weights, Workspace)."""

from .activation import ELU, GELU, Activation, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .batch_norm import BatchNorm
from .dropout import Dropout
from .flatten import Flatten
from .frame import Frame
from .layer import Average, Layer, Param
from .linear import Linear
from .residual import Residual
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
    "Flatten",
    "Frame",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Param",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Weights",
    "Workspace",
]
