"""Gradients of the whole batch: summed over the processes while the backward pass still runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cxredit_cli.processes import Processes
from cxredit_cli.training.parts import Part

BUCKET_BYTES = 25 << 20  # as DistributedDataParallel's: large enough to use the network, small enough to begin early


@dataclass(slots=True)
class Sum:
    """One bucket on its way: the gradients, one after the other in `flat`, and the sum that is being made of them."""

    gradients: list[Tensor]
    flat: Tensor
    work: dist.Work


class SharedGradients:
    """Backward passes that leave in each parameter the sum of all processes' gradients.

    A bucket of gradients is sent off as soon as the last of them is there. Which parameters take part in a pass is
    remembered by its name: not all do in all passes, and those that do not must keep no gradient, for Adam would move
    them by a zero. All processes compute the same graph, and therefore send the same buckets in the same order.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], processes: Processes) -> None:
        self._parameters = list(parameters)[::-1]  # a backward pass reaches the last ones first
        self._spread = processes.count > 1
        self._plans: dict[str, list[list[nn.Parameter]]] = {}
        self._closing = False
        self._waiting: list[set[nn.Parameter]] = []  # of each bucket: whose gradients are not there yet
        self._plan: list[list[nn.Parameter]] = []
        self._sums: list[Sum] = []
        if self._spread:
            for parameter in self._parameters:
                parameter.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]

    def backward(self, loss: Tensor, name: str, part: Part) -> None:
        """Add the gradients of the mean loss over `part`, weighted by its share of the whole batch.

        The opening part of a process forgets earlier gradients, the closing one leaves the whole batch's. `name` tells
        kinds of passes apart.
        """
        if part.opening:
            for parameter in self._parameters:
                parameter.grad = None
        self._closing = part.closing and self._spread
        self._plan = self._plans.get(name, [])
        self._waiting = [set(bucket) for bucket in self._plan]
        torch.autograd.backward(loss * part.share)
        if self._closing:
            self._finish(name)

    def _arrived(self, parameter: Tensor) -> None:
        """Send off the buckets that are complete, in order."""
        if not self._closing:
            return
        for bucket in self._waiting[len(self._sums) :]:
            bucket.discard(parameter)
        while len(self._sums) < len(self._plan) and not self._waiting[len(self._sums)]:
            self._send(self._plan[len(self._sums)])

    def _finish(self, name: str) -> None:
        """Send off what the plan had not foreseen, wait for all sums and remember who took part."""
        taking_part = [parameter for parameter in self._parameters if parameter.grad is not None]
        sent = {parameter for bucket in self._plan[: len(self._sums)] for parameter in bucket}
        for bucket in buckets([parameter for parameter in taking_part if parameter not in sent]):
            self._send(bucket)
        for each in self._sums:
            each.work.wait()
            views = torch.split(each.flat, [gradient.numel() for gradient in each.gradients])
            summed = [view.view(gradient.shape) for view, gradient in zip(views, each.gradients, strict=True)]
            torch._foreach_copy_(each.gradients, summed)
        self._sums.clear()
        self._plans[name] = buckets(taking_part)

    def _send(self, bucket: Sequence[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        work = dist.all_reduce(flat, async_op=True)
        assert work is not None
        self._sums.append(Sum(gradients, flat, work))


def buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Neighbours together, BUCKET_BYTES at most or a single parameter."""
    made: list[list[nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        size = parameter.numel() * parameter.element_size()
        if size > room:
            made.append([])
            room = BUCKET_BYTES
        made[-1].append(parameter)
        room -= size
    return made
