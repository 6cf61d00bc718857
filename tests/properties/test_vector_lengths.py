"""The algebra that finding a vector-length set for two hosts rests on."""

from __future__ import annotations

from hypothesis import given, strategies as st

from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths, virtualisable

lengths = st.builds(VectorLengths, st.sets(st.integers(1, ARCH_VQ_MAX)))
hosts = st.lists(lengths, min_size=1, max_size=4)


def prefixes(of: VectorLengths) -> list[VectorLengths]:
    return [of.up_to(vq) for vq in (0, *of)]


@given(lengths, lengths)
def test_the_common_prefix_is_a_prefix_of_both(a: VectorLengths, b: VectorLengths) -> None:
    common = a.common_prefix(b)
    assert common.is_prefix_of(a)
    assert common.is_prefix_of(b)


@given(lengths, lengths)
def test_no_common_prefix_is_longer(a: VectorLengths, b: VectorLengths) -> None:
    shared = [prefix for prefix in prefixes(a) if prefix.is_prefix_of(b)]
    assert max(shared, key=len) == a.common_prefix(b)


@given(lengths, lengths)
def test_the_common_prefix_does_not_depend_on_sides(a: VectorLengths, b: VectorLengths) -> None:
    assert a.common_prefix(b) == b.common_prefix(a)


@given(lengths, lengths, lengths)
def test_the_common_prefix_does_not_depend_on_grouping(
    a: VectorLengths, b: VectorLengths, c: VectorLengths
) -> None:
    assert a.common_prefix(b).common_prefix(c) == a.common_prefix(b.common_prefix(c))


@given(lengths)
def test_a_set_is_its_own_common_prefix(a: VectorLengths) -> None:
    assert a.common_prefix(a) == a


@given(lengths, lengths)
def test_being_a_prefix_is_what_the_common_prefix_says(a: VectorLengths, b: VectorLengths) -> None:
    assert a.is_prefix_of(b) == (a.common_prefix(b) == a)


@given(hosts)
def test_every_offered_length_is_on_every_cpu(cpus: list[VectorLengths]) -> None:
    for vq in virtualisable(cpus):
        assert all(vq in cpu for cpu in cpus)


@given(hosts)
def test_up_to_the_longest_offered_length_all_cpus_agree(cpus: list[VectorLengths]) -> None:
    """What makes it virtualisable: limiting any CPU to that length shows the same set."""
    offered = virtualisable(cpus)
    assert all(cpu.up_to(offered.max) == offered for cpu in cpus)


@given(hosts)
def test_no_longer_length_could_be_offered(cpus: list[VectorLengths]) -> None:
    offered = virtualisable(cpus)
    longer = [vq for vq in cpus[0] if vq > offered.max]
    assert not any(len({cpu.up_to(vq) for cpu in cpus}) == 1 for vq in longer)


@given(hosts)
def test_order_and_number_of_like_cpus_do_not_matter(cpus: list[VectorLengths]) -> None:
    assert virtualisable(reversed(cpus)) == virtualisable(cpus) == virtualisable([*cpus, cpus[0]])
