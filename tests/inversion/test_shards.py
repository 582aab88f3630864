"""Parts of a cohort: which images, which file, which GPU."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.shards import WHOLE, Shard, choose_device, choose_shard


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 9))
def test_the_parts_in_order_are_the_whole_in_order(length: int, count: int, batch: int) -> None:
    items = list(range(length))
    parts = [Shard(number, count).of(items, batch) for number in range(1, count + 1)]
    assert [item for part in parts for item in part] == items
    if length >= count * batch:
        assert all(part[0] % batch == 0 for part in parts)
        assert max(map(len, parts)) - min(map(len, parts)) < 2 * batch
    else:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_has_a_file_of_its_own() -> None:
    assert Shard(2, 4).path(Path("out/codes.h5")) == Path("out/codes.2-of-4.h5")
    assert WHOLE.path(Path("codes.h5")) == Path("codes.h5")
    assert (str(Shard(2, 4)), str(WHOLE)) == ("2/4", "")


def test_torchrun_says_which_part_and_which_gpu_unless_the_user_does() -> None:
    torchrun = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "5"}
    assert choose_shard(None, torchrun) == Shard(6, 16)
    assert choose_shard("1/2", torchrun) == Shard(1, 2)
    assert choose_shard(None, {}) == WHOLE
    assert choose_device("auto", torchrun, 8) == "cuda:5"
    assert choose_device("auto", torchrun, 4) == "cuda:1"
    assert choose_device("auto", torchrun, 0) == choose_device("auto", {}, 8) == "auto"
    assert choose_device("cpu", torchrun, 8) == "cpu"


@pytest.mark.parametrize("given", ["0/4", "5/4", "2", "a/b", "-1/2", "1/0"])
def test_what_is_no_part_is_one_sentence(given: str) -> None:
    with pytest.raises(InputError, match="--shard must be I/N"):
        choose_shard(given, {})
