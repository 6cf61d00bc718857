"""Vector lengths: units, sets, and what a hypervisor can offer on unlike CPUs."""

from __future__ import annotations

import copy
import pickle

import pytest

from armkvm.arch.vectors import VectorLengths, Vq, virtualisable

L = VectorLengths


def test_one_quadword_is_16_bytes_of_z_and_2_of_p() -> None:
    vq = Vq(4)
    assert (vq.vl, vq.pl, vq.bits) == (64, 8, 512)
    assert Vq.from_vl(64) == vq


@pytest.mark.parametrize("quadwords", [0, -1, 513])
def test_a_length_is_1_to_512_quadwords(quadwords: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.512"):
        Vq(quadwords)


@pytest.mark.parametrize("vl", [8, 17, 255])
def test_a_length_in_bytes_is_a_multiple_of_16(vl: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Vq.from_vl(vl)


def test_a_set_has_bit_vq_minus_1_for_vq() -> None:
    assert L([1, 2, 4]).bitmap == 0b1011
    assert L([512]).bitmap == 1 << 511


def test_a_set_is_ordered_and_measured() -> None:
    lengths = L([16, 1, 4])
    assert list(lengths) == [1, 4, 16]
    assert (len(lengths), lengths.max) == (3, 16)
    assert 4 in lengths
    assert 2 not in lengths
    assert 0 not in lengths
    assert "4" not in lengths
    assert (len(L()), L().max, list(L())) == (0, 0, [])


def test_a_set_is_a_value() -> None:
    lengths = L([1, 2])
    assert lengths == L([2, 1, 1])
    assert hash(lengths) == hash(L([2, 1]))
    assert lengths != L([1])
    assert lengths != 3
    assert pickle.loads(pickle.dumps(lengths)) == copy.deepcopy(lengths) == lengths  # noqa: S301 - our own bytes
    with pytest.raises(AttributeError, match="immutable"):
        lengths.bitmap = 0


@pytest.mark.parametrize("bitmap", [-1, 1 << 512])
def test_a_bitmap_has_512_bits(bitmap: int) -> None:
    with pytest.raises(ValueError, match="512 bits"):
        L.from_bitmap(bitmap)


@pytest.mark.parametrize(
    ("text", "vqs", "written"),
    [
        ("1,2,4", [1, 2, 4], "1,2,4"),
        ("4, 2 ,1", [1, 2, 4], "1,2,4"),
        ("1-4,8", [1, 2, 3, 4, 8], "1-4,8"),
        ("1,2,3", [1, 2, 3], "1-3"),
        ("16", [16], "16"),
    ],
)
def test_the_command_lines_form_counts_quadwords(text: str, vqs: list[int], written: str) -> None:
    assert list(L.parse(text)) == vqs
    assert str(L.parse(text)) == written


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,x", "got 'x'"),
        ("1-", "got '1-'"),
        ("-4", "got '-4'"),
        ("4-1", "backwards"),
        ("0", r"1\.\.512"),
        ("1-513", r"1\.\.512"),
        ("1-99999999999999999999", r"1\.\.512"),
    ],
)
def test_what_is_no_set_is_refused_with_the_part_that_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        L.parse(text)


def test_an_empty_set_prints_as_none() -> None:
    assert str(L()) == "none"


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        ([1, 2, 4], [1, 2, 4], [1, 2, 4]),
        ([1, 2, 4], [1, 2], [1, 2]),
        ([1, 2, 4], [1, 2, 3, 4], [1, 2]),
        ([1, 2, 4, 8], [1, 4, 8], [1]),
        ([2, 4], [1, 2, 4], []),
        ([], [1, 2], []),
    ],
)
def test_the_common_prefix_ends_before_the_first_disagreement(
    a: list[int], b: list[int], common: list[int]
) -> None:
    assert L(a).common_prefix(L(b)) == L(b).common_prefix(L(a)) == L(common)


def test_a_prefix_leaves_out_nothing_below_its_maximum() -> None:
    assert L([1, 2]).is_prefix_of(L([1, 2, 4]))
    assert not L([1, 4]).is_prefix_of(L([1, 2, 4]))
    assert not L([1, 2, 4]).is_prefix_of(L([1, 2]))
    assert L().is_prefix_of(L([2]))


@pytest.mark.parametrize(
    ("cpus", "required", "offered"),
    [
        pytest.param([[1, 2, 4]], 1, [1, 2, 4], id="one kind of CPU: all of it"),
        pytest.param([[1, 2, 4], [1, 2, 4]], 1, [1, 2, 4], id="like CPUs: all of it"),
        pytest.param([[1, 2, 8], [1, 2, 4, 8]], 1, [1, 2], id="4 on one CPU only hides 8 too"),
        pytest.param([[1, 2], [1, 2, 4]], 1, [1, 2], id="a longer CPU is cut to the shorter"),
        pytest.param([[1, 4], [1, 2, 4], [1, 2, 4]], 1, [1], id="2 missing on one CPU caps everything"),
        pytest.param([[1, 2], [1, 3], [1, 2, 3]], 1, [1], id="smallest partial length decides"),
        pytest.param([[1, 2, 20], [1, 2, 20]], 1, [1, 2], id="beyond 2048 bits is not offered"),
        pytest.param([[1], [2]], 1, [], id="nothing in common"),
        pytest.param([[1, 2], [2]], 1, [], id="SVE without its required length"),
        pytest.param([[2, 4], [2, 4]], 0, [2, 4], id="SME requires no length"),
        pytest.param([[2, 4], [4]], 0, [], id="SME's smallest length on one CPU only"),
        pytest.param([], 1, [], id="no CPU"),
        pytest.param([[], []], 1, [], id="CPUs without SVE"),
        pytest.param([[], [1, 2]], 1, [], id="SVE on one CPU only"),
    ],
)
def test_the_smallest_length_only_some_cpus_have_caps_everything(
    cpus: list[list[int]], required: int, offered: list[int]
) -> None:
    assert virtualisable(map(L, cpus), required) == L(offered)
