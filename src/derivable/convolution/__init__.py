"""Convolution in every form: signals, layers, their derivatives, pooling, matrices."""

from derivable.convolution import inside as inside  # teaches Numba the public names
from derivable.convolution import rules as rules  # teaches autodiff their derivatives
from derivable.convolution.choice import conv_method
from derivable.convolution.derivatives import (
    conv_bias_gradient,
    conv_input_gradient,
    conv_kernel_gradient,
    conv_transpose_input_gradient,
    conv_transpose_kernel_gradient,
)
from derivable.convolution.layers import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from derivable.convolution.matrix import circulant, conv_matrix, toeplitz
from derivable.convolution.pooling import (
    avg_pool1d,
    avg_pool1d_gradient,
    avg_pool2d,
    avg_pool2d_gradient,
    avg_pool3d,
    avg_pool3d_gradient,
    max_pool1d,
    max_pool1d_gradient,
    max_pool2d,
    max_pool2d_gradient,
    max_pool3d,
    max_pool3d_gradient,
)
from derivable.convolution.signals import convolve, correlate
from derivable.convolution.sizes import output_size

__all__ = [
    "avg_pool1d",
    "avg_pool1d_gradient",
    "avg_pool2d",
    "avg_pool2d_gradient",
    "avg_pool3d",
    "avg_pool3d_gradient",
    "circulant",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_bias_gradient",
    "conv_input_gradient",
    "conv_kernel_gradient",
    "conv_matrix",
    "conv_method",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transpose_input_gradient",
    "conv_transpose_kernel_gradient",
    "convolve",
    "correlate",
    "max_pool1d",
    "max_pool1d_gradient",
    "max_pool2d",
    "max_pool2d_gradient",
    "max_pool3d",
    "max_pool3d_gradient",
    "output_size",
    "toeplitz",
]
