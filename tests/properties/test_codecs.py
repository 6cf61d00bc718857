"""Codecs lose nothing: what is read back is what was written."""

from __future__ import annotations

from hypothesis import given, strategies as st

from armkvm import catalog
from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import NAMES, name_of, sysreg
from armkvm.arch.vectors import ABI_VQ_MAX, VectorLengths

encodings = st.builds(SysReg, st.integers(0, 0xFFFF))
slices = st.integers(0, 31)
registers = st.one_of(
    st.builds(RegId.x, st.integers(0, 30)),
    st.builds(RegId.v, st.integers(0, 31)),
    st.builds(RegId.z, st.integers(0, 31), slices),
    st.builds(RegId.p, st.integers(0, 15), slices),
    st.builds(RegId.ffr, slices),
    st.builds(RegId.za, st.integers(0, 255), slices),
    st.builds(RegId.ccsidr, st.integers(0, 13)),
    st.builds(RegId.firmware, st.integers(0, 3)),
    st.builds(RegId.bitmap, st.integers(0, 3)),
    st.builds(RegId.sysreg, encodings),
    st.builds(RegId.sysreg, st.sampled_from(sorted(NAMES))),
    st.sampled_from([RegId.sve_vls(), RegId.sme_vls(), RegId.zt0(), RegId.core(64), RegId.core(212, 4)]),
)
# Numbers near those that mean something, and any others.
any_number = st.builds(RegId, st.integers(0, (1 << 64) - 1)) | st.builds(
    lambda reg, bit: RegId(reg ^ 1 << bit), registers, st.integers(0, 63)
)


@given(encodings)
def test_an_encoding_is_its_five_parts(reg: SysReg) -> None:
    assert SysReg.of(*reg.parts) == reg


@given(encodings)
def test_an_encoding_is_found_by_its_name_and_its_generic_name(reg: SysReg) -> None:
    assert sysreg(name_of(reg)) == reg
    assert sysreg(reg.generic_name) == reg


@given(encodings)
def test_a_system_registers_id_carries_its_encoding(reg: SysReg) -> None:
    assert RegId.sysreg(reg).encoding == reg
    assert catalog.accessed_register(catalog.id_of(reg)) == reg


@given(registers)
def test_every_register_has_a_name_that_means_it(reg: RegId) -> None:
    assert catalog.name_of(reg)
    assert catalog.parse(catalog.name_of(reg)) == reg


@given(any_number)
def test_any_number_that_has_a_name_is_the_one_the_name_means(reg: RegId) -> None:
    name = catalog.name_of(reg)
    assert not name or catalog.parse(name) == reg


@given(any_number)
def test_any_number_is_found_by_its_hex_form(reg: RegId) -> None:
    assert catalog.parse(reg.hex) == reg


@given(any_number)
def test_the_parts_of_an_id_are_the_id(reg: RegId) -> None:
    size = reg.size.bit_length() - 1
    rest = reg & ~(0xF << 52 | 0xFFF << 16 | 0xFFFF)
    assert rest | size << 52 | reg.reg_class << 16 | reg.low == reg


@given(st.text(max_size=30) | st.from_regex(r"(?i)(z|p|x|za\[|s3_)[0-9_c/\]]{0,12}", fullmatch=True))
def test_any_text_names_a_register_or_is_refused_as_no_name(text: str) -> None:
    found: RegId | None = None
    refusal = ""
    try:
        found = catalog.parse(text)
    except ValueError as error:
        refusal = str(error)
    assert (found is not None) != (repr(text) in refusal)


@given(st.binary(min_size=64, max_size=64))
def test_any_64_bytes_are_a_vector_length_set(data: bytes) -> None:
    assert vls.encode(vls.decode(data)) == data


@given(st.sets(st.integers(1, ABI_VQ_MAX), min_size=1))
def test_a_vector_length_set_is_read_back_from_its_printed_form(vqs: set[int]) -> None:
    lengths = VectorLengths(vqs)
    assert VectorLengths.parse(str(lengths)) == lengths
    assert set(lengths) == vqs
