"""1x1 convolution as a matrix product over pixels."""

from torch import Tensor


def pointwise_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve [N, I, H, W] with `weight` [O, I, 1, 1]; the result is channels_last.

    On CPUs the library's own 1x1 convolution of few channels is far slower: 16 x 1 -> 32 channels at 128x128 in
    bfloat16 takes 33 ms on one core, this 1 ms.
    """
    return x.permute(0, 2, 3, 1).matmul(weight[:, :, 0, 0].t()).permute(0, 3, 1, 2)
