"""The codec's layers for one frame of many rows: transformers' weights, few and plain operations.

transformers' layers compute a frame as they compute a minute: they swap time and channels around
every product, and an upsampling convolution works through all columns it remembers to give one.
Here sound stays ``(rows, channels, columns)`` from end to end, every convolution is one matrix
product over patches, and each layer remembers only the columns that the next frame needs.

**Rows don't meet.** A stage with more columns than channels multiplies each row by itself, so its
bits can't depend on the batch. A shorter one multiplies the columns of all rows at once, because
that reads the weights once; there the batch's size matters, see :data:`MIN_ROWS`.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from serve_app.engines.vibevoice_slots import Past

MIN_ROWS: Final = 4
"""Rows from which on a matrix product on a CPU does not depend on their number."""


def mix(sound: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mix the channels of each column.

    Args:
        sound: Shape ``(rows, channels, columns)``.
        weight: Shape ``(mixed, channels)``.
        bias: Shape ``(mixed, 1)``.

    Returns:
        Shape ``(rows, mixed, columns)``.
    """
    rows, channels, columns = sound.shape
    if columns < channels:
        return functional.linear(sound.transpose(1, 2), weight, bias[:, 0]).transpose(1, 2)
    return torch.baddbmm(bias, weight.expand(rows, *weight.shape), sound)


class Convolution:
    """A causal convolution.

    Args:
        layer: ``VibeVoiceAcousticTokenizerCausalConv1d`` without groups and dilation.
        past: What it remembers.
    """

    def __init__(self, layer: Any, past: Past) -> None:
        conv = layer.conv
        self._weight, self._bias = conv.weight.flatten(1), conv.bias[:, None]
        self._width, self._stride = conv.kernel_size[0], conv.stride[0]
        self._past = past.layer(layer.in_channels, layer.left_pad)

    def __call__(self, sound: Tensor, rows: slice) -> Tensor:
        """The frame *sound* of the slots *rows*."""
        patches = self._past(sound, rows).unfold(-1, self._width, self._stride)
        stacked = patches.transpose(2, 3).reshape(sound.shape[0], -1, patches.shape[2])
        return mix(stacked, self._weight, self._bias)


class Upsampling:
    """A causal transposed convolution, of which each column reaches over the next one's.

    Its weights are laid out anew, so that a column and the one before it give their samples in
    one product; that holds them a second time, once for all codecs of a model.

    Args:
        layer: ``VibeVoiceAcousticTokenizerCausalConvTranspose1d``, twice as wide as its stride.
        past: What it remembers.
    """

    def __init__(self, layer: Any, past: Past) -> None:
        conv = layer.convtr
        self._stride = conv.stride[0]
        self._weight, self._bias = _laid_out(conv)
        inner = conv.weight.shape[0]
        self._past = past.layer(inner, 1)

    def __call__(self, sound: Tensor, rows: slice) -> Tensor:
        """The frame *sound* of the slots *rows*."""
        before = self._past(sound, rows)[..., :-1]
        samples = mix(torch.cat((sound, before), dim=1), self._weight, self._bias)
        count, _, columns = sound.shape
        spread = samples.reshape(count, -1, self._stride, columns)
        return spread.transpose(2, 3).flatten(2)


_LAID_OUT: Final[WeakKeyDictionary[torch.nn.Module, tuple[Tensor, Tensor]]] = WeakKeyDictionary()


def _laid_out(conv: torch.nn.ConvTranspose1d) -> tuple[Tensor, Tensor]:
    """Weights for a column above the one before it, and the bias of every sample."""
    if conv not in _LAID_OUT:
        inner, outer, _ = conv.weight.shape
        stride = conv.stride[0]
        halves = conv.weight.view(inner, outer, 2, stride)
        weight = halves.permute(1, 3, 2, 0).reshape(outer * stride, 2 * inner)
        assert conv.bias is not None
        _LAID_OUT[conv] = weight, conv.bias.repeat_interleave(stride)[:, None]
    return _LAID_OUT[conv]


class Block:
    """A ConvNeXt block: each channel along time, then the channels of each column.

    Args:
        layer: ``VibeVoiceAcousticTokenizerConvNext1dLayer``.
        past: What it remembers.
    """

    def __init__(self, layer: Any, past: Past) -> None:
        self._norm, self._ffn_norm = _Norm(layer.norm), _Norm(layer.ffn_norm)
        self._depthwise = layer.mixer.conv
        self._bias = self._depthwise.bias[:, None]
        self._taps = [tap[:, None] for tap in self._depthwise.weight[:, 0].unbind(-1)]
        self._past = past.layer(layer.mixer.in_channels, layer.mixer.left_pad)
        self._gamma, self._ffn_gamma = layer.gamma[:, None], layer.ffn_gamma[:, None]
        up, down = layer.ffn.linear1, layer.ffn.linear2
        self._up, self._down = (up.weight, up.bias[:, None]), (down.weight, down.bias[:, None])
        self._bend = layer.ffn.activation

    def __call__(self, sound: Tensor, rows: slice) -> Tensor:
        """The frame *sound* of the slots *rows*."""
        along = self._along(self._past(self._norm(sound), rows))
        sound = torch.addcmul(sound, along, self._gamma)
        wide = self._bend(mix(self._ffn_norm(sound), *self._up))
        return torch.addcmul(sound, mix(wide, *self._down), self._ffn_gamma)

    def _along(self, padded: Tensor) -> Tensor:
        if padded.dtype is not torch.float32:  # one by one, the taps would each be rounded
            convolved: Tensor = self._depthwise(padded)
            return convolved
        columns = padded.shape[-1] - len(self._taps) + 1
        total: Tensor = self._bias
        for at, tap in enumerate(self._taps):
            total = torch.addcmul(total, padded[..., at : at + columns], tap)
        return total


class _Norm:
    """RMSNorm over the channels, in float32 whatever comes in."""

    def __init__(self, norm: Any) -> None:
        self._weight = norm.weight[:, None]
        self._eps = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon

    def __call__(self, sound: Tensor) -> Tensor:
        wide = sound.float()
        power = wide.square().mean(1, keepdim=True)
        normed: Tensor = (wide * power.add_(self._eps).rsqrt_()).to(sound.dtype) * self._weight
        return normed
