"""Proteins come with their SCOPe classes, and a faulty record is named."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.data import fasta
from georep_utils.io import UserError

SCOPE = """>d1dlwa_ a.1.1.1 (A:) Protozoan/bacterial hemoglobin {Ciliate [TaxId: 5885]}
slfeqlggqa
avqavtaqf
>d2gkma_ a.1.1.1 (A:) automated matches
gllsrlrk
>d1s69a_ a.1.1.2 (A:) Myoglobin
mvlsegew
>d1phna_ a.1.2.1 (A:) Phycocyanin
mktpitea
>d1aaaa_ b.66.1.1 (A:) Propeller
acdefghxx
"""
PROTEINNET = "[ID]\n1A9U_1_A\n[PRIMARY]\nMKVLA\n[EVOLUTIONARY]\n0.1\t0.2\n[MASK]\n++-\n\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "proteins.fa").write_text(SCOPE)
    return tmp_path / "proteins.fa"


def test_records_have_names_residues_and_scope_classes(path):
    records = fasta.read_fasta(path)
    assert [record.id for record in records][:2] == ["d1dlwa_", "d2gkma_"]
    assert records[0].sequence == "SLFEQLGGQAAVQAVTAQF"
    assert records[0].sccs == "a.1.1.1" and records[0].superfamily == "a.1.1"


def test_the_filter_table_counts_what_each_filter_leaves(path):
    table = fasta.scope_filter_table(fasta.read_fasta(path))
    filters = ["classes", "disputed_folds", "min_per_superfamily", "min_families"]
    counts = table.set_index(filters)[["sequences", "superfamilies"]]
    assert counts.loc[("all", "kept", 1, 1)].tolist() == [5, 3]
    assert counts.loc[("a-g", "left out", 1, 1)].tolist() == [4, 2]
    assert counts.loc[("all", "kept", 2, 2)].tolist() == [3, 1]
    assert (table.paper_sequences == 10_256).all() and (table.paper_superfamilies == 288).all()
    assert table.distance.is_monotonic_increasing


def test_a_prefix_ends_at_a_dot():
    records = [fasta.Record("x", "M", sccs) for sccs in ("c.2.1.1", "c.23.1.1")]
    assert fasta.scope_filter(records, classes=["c.2"]) == records[:1]
    assert fasta.scope_filter(records, exclude=["c.2"]) == records[1:]


def test_a_letter_that_has_capitals_elsewhere_is_no_residue():
    assert fasta.residues("mkv", "x", "file") == "MKV"
    with pytest.raises(UserError, match="x has 'ß' at residue 2"):
        fasta.residues("MßV", "x", "file")


BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(BYTES, st.sampled_from([(fasta.read_fasta, SCOPE), (fasta.read_proteinnet, PROTEINNET)]))
def test_any_damage_is_one_line_or_harmless(tmp_path_factory, changes, reader):
    read, content = reader
    spoilt = bytearray(content.encode())
    for place, piece in changes:
        start = place % (len(spoilt) + 1)
        spoilt[start : start + 1] = piece
    path = tmp_path_factory.getbasetemp() / "damaged.fa"
    for stored in (bytes(spoilt), gzip.compress(bytes(spoilt))):
        path.write_bytes(stored)
        try:
            records = read(path)
            assert all(set(record.sequence) <= fasta.RESIDUES for record in records)
        except UserError as error:
            assert "\n" not in str(error)
