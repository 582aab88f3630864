"""Parts of a cohort: which images, which file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.shards import WHOLE, Shard, choose_shard
from cxredit_cli.torchrun import Place


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


def test_a_process_has_its_own_part_unless_the_user_names_another() -> None:
    assert choose_shard(None, Place(5, 16, 5, 8)) == Shard(6, 16)
    assert choose_shard("1/2", Place(5, 16, 5, 8)) == Shard(1, 2)
    assert choose_shard(None, Place()) == WHOLE


@pytest.mark.parametrize("given", ["0/4", "5/4", "2", "a/b", "-1/2", "1/0"])
def test_what_is_no_part_is_one_sentence(given: str) -> None:
    with pytest.raises(InputError, match="--shard must be I/N"):
        choose_shard(given, Place())
