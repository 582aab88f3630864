"""Which of several processes this one is, and which GPU is its own."""

import pytest

from cxredit_cli.devices import own_device
from cxredit_cli.errors import InputError
from cxredit_cli.processes import Processes
from cxredit_cli.torchrun import Place

TORCHRUN = {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"}


def test_torchrun_says_which_process_this_is() -> None:
    assert Place.of(TORCHRUN) == Place(9, 16, 1, 8)
    assert Place.of({"RANK": "1", "WORLD_SIZE": "2"}) == Place(1, 2)
    for nobody in ({}, {"RANK": "0", "WORLD_SIZE": "1"}, {"WORLD_SIZE": "8"}, {"RANK": "x", "WORLD_SIZE": "8"}):
        assert Place.of(nobody) == Place()
        assert Place.of(nobody).alone


def test_each_process_has_a_gpu_of_its_own() -> None:
    ninth = Place.of(TORCHRUN)
    assert own_device("auto", ninth, 8) == own_device("cuda", ninth, 8) == "cuda:1"
    assert own_device("auto", ninth, 0) == "auto"
    assert own_device("cpu", ninth, 8) == "cpu"
    assert own_device("cuda:1", Place(), 8) == "cuda:1"
    with pytest.raises(InputError, match="a machine with 4 GPUs"):
        own_device("auto", ninth, 4)
    with pytest.raises(InputError, match="for one process"):
        own_device("cuda:1", ninth, 8)


def test_gpus_that_may_be_shared_are_shared_in_turn() -> None:
    assert [own_device("auto", Place(5, 8, 5, 8), gpus, shared=True) for gpus in (8, 4, 0)] == [
        "cuda:5",
        "cuda:1",
        "auto",
    ]
    assert own_device("cuda:1", Place(5, 8, 5, 8), 8, shared=True) == "cuda:1"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("items", [0, 1, 7, 12])
def test_shares_in_order_are_the_whole_in_order(items: int, count: int) -> None:
    shares = [Processes(rank, count).rounds(items, 3) for rank in range(count)]
    assert len({len(rounds) for rounds in shares}) == 1
    dealt = [part for parts in zip(*shares, strict=True) for part in parts]
    assert [item for part in dealt for item in part] == list(range(items))
    assert [part for part in dealt if part] == Processes().rounds(items, 3)  # the same are worked on at once
