"""Edits: against a dense eigen-truncation, at both ends, at equal size, and undone to the bit."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from distill.edit.delta import add_back, low_rank, save_delta
from distill.edit.directions import (
    CONTROLS,
    Spectrum,
    edited_weight,
    heaviest,
    kept_count,
    kept_pairs,
)
from distill.edit.factors import Factors
from distill.edit.kfac import collect_factors
from distill.edit.matrices import find_targets
from recipes.errors import ModelError
from tests.distill.edit.test_kfac import MLP, batches, dense, stream


def factors(rows, columns, seed=0, rank=None):
    torch.manual_seed(seed)
    a, g = (
        torch.randn(rank or 3 * n, n, dtype=torch.float64)
        * torch.logspace(0, -2, n, dtype=torch.float64)
        for n in (columns, rows)
    )
    return Factors(a.t() @ a, g.t() @ g, 10)


def by_sorting(outputs, inputs, rho):
    """Which pairs are kept, from all products sorted."""
    products = (outputs[:, None] * inputs).reshape(-1)
    order = products.argsort(descending=True)
    enough = int((products[order].cumsum(0) < rho * products.sum()).sum()) + 1
    mask = torch.zeros(len(products), dtype=torch.bool)
    mask[order[:enough]] = True
    return mask.view(len(outputs), len(inputs))


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9, 0.99, 0.9999])
def test_an_edit_is_the_dense_truncation_of_the_kronecker_product(rho):
    """The reference: eigenvectors of G kron A (30 x 30), the fewest that hold rho of its trace,
    vec(W) projected on them.
    """
    found = factors(6, 5)
    weight = torch.randn(6, 5, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.kron(found.outputs_EE, found.inputs_DD))
    values, vectors = values.flip(0), vectors.flip(1)
    count = int((values.cumsum(0) < rho * values.sum()).sum()) + 1
    kept = vectors[:, :count]
    wanted = (kept @ (kept.t() @ weight.reshape(-1))).view(6, 5)
    edited, number = edited_weight(weight, Spectrum.of(found), "kfac", rho)
    assert number == count
    torch.testing.assert_close(edited, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rho", [0.001, 0.3, 0.9, 0.999, 0.999999])
def test_bisection_finds_what_sorting_finds(rho):
    spectrum = Spectrum.of(factors(40, 31, seed=int(1000 * rho)))
    wanted = by_sorting(spectrum.outputs_E, spectrum.inputs_D, rho)
    assert torch.equal(kept_pairs(spectrum.outputs_E, spectrum.inputs_D, rho), wanted)
    assert torch.equal(heaviest(spectrum.outputs_E[:, None] * spectrum.inputs_D, rho), wanted)


def test_ties_are_kept_together():
    ones = torch.ones(3, dtype=torch.float64)
    assert kept_pairs(ones, ones, 0.2).all() and heaviest(torch.ones(3, 3), 0.2).all()


def test_nothing_is_kept_that_has_no_curvature():
    spectrum = Spectrum.of(factors(6, 8, rank=3))
    mask = kept_pairs(spectrum.outputs_E, spectrum.inputs_D, 1 - 1e-9)
    assert mask.sum() <= 9 and mask.any()


@pytest.mark.parametrize("method", ["kfac", "kfac_energy", *CONTROLS])
def test_rho_1_is_the_identity_bit_by_bit(method):
    weight = torch.randn(6, 8)
    edited, kept = edited_weight(weight, Spectrum.of(factors(6, 8, rank=3)), method, 1.0)
    assert (
        torch.equal(edited.view(torch.int32), weight.view(torch.int32))
        and kept == 48
        and edited is not weight
    )


def test_scaling_the_loss_changes_nothing():
    found, weight = factors(12, 9), torch.randn(12, 9)
    scaled = Factors(found.inputs_DD, found.outputs_EE * 7.3e6, found.tokens)
    for method in ("kfac", "kfac_energy"):
        one, other = (edited_weight(weight, Spectrum.of(f), method, 0.9) for f in (found, scaled))
        assert one[1] == other[1]
        torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", CONTROLS)
def test_controls_keep_no_more_than_the_edit(method):
    spectrum, weight = Spectrum.of(factors(16, 12)), torch.randn(16, 12)
    for rho in (0.5, 0.9, 0.99):
        size = kept_count(weight, spectrum, "kfac", rho)
        edited, kept = edited_weight(weight, spectrum, method, rho, seed=1)
        assert kept <= size + 8 and size - kept <= 30  # to a whole direction or rank
        assert not torch.equal(edited, weight)


def test_controls_are_what_their_names_say():
    spectrum, weight = Spectrum.of(factors(16, 12)), torch.randn(16, 12, dtype=torch.float64)
    svd, kept = edited_weight(weight, spectrum, "svd", 0.9999)
    rank = int(torch.linalg.matrix_rank(svd, rtol=1e-8))
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    assert kept == rank * (28 - rank)
    torch.testing.assert_close(svd, (left[:, :rank] * values[:rank]) @ right[:rank])
    pca, kept = edited_weight(weight, spectrum, "pca", 0.9999)
    main = spectrum.inputs_DD[:, 12 - kept // 16 :]
    torch.testing.assert_close(pca, weight @ main @ main.t())
    one, same, other = (
        edited_weight(weight, spectrum, "random", 0.9, seed=s)[0] for s in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_an_edit_twice_is_an_edit_once():
    spectrum, weight = Spectrum.of(factors(16, 12)), torch.randn(16, 12, dtype=torch.float64)
    once, _ = edited_weight(weight, spectrum, "kfac", 0.9)
    torch.testing.assert_close(edited_weight(once, spectrum, "kfac", 0.9)[0], once)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_goes_off_and_on_again_to_the_bit(tmp_path, dtype):
    before = dense()
    targets = find_targets(before, layers=[1], projections=MLP)
    found = collect_factors(before, targets, batches(stream(24)), seed=3)
    before = before.to(dtype)
    after = copy.deepcopy(before)
    for target in find_targets(after, layers=[1], projections=MLP):
        target.weight().copy_(
            edited_weight(target.weight(), Spectrum.of(found[target.name]), "kfac", 0.9)[0]
        )
    path = tmp_path / "delta.safetensors"
    assert save_delta(path, before, after)["changed"] == 3
    back = copy.deepcopy(after)
    assert add_back(back, path) == "memory_on"
    for (name, one), (_, other) in zip(
        before.named_parameters(), back.named_parameters(), strict=True
    ):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8)), name
    assert add_back(back, path) == "memory_off"
    assert all(
        torch.equal(one, other)
        for one, other in zip(after.parameters(), back.parameters(), strict=True)
    )
    back.model.norm.weight.data += 1
    with pytest.raises(ModelError, match=r"delta.safetensors: a delta of another model"):
        add_back(back, path)


def test_what_is_of_low_rank_is_kept_as_an_adapter_too(tmp_path):
    before, after = dense(), dense()
    weight = after.model.layers[0].mlp.up_proj.weight.data
    weight -= torch.randn(12, 1) @ torch.randn(1, 8)
    assert save_delta(tmp_path / "delta.safetensors", before, after) == {
        "changed": 1,
        "low_rank": 1,
    }
    parts, name = load_file(tmp_path / "delta.safetensors"), "model.layers.0.mlp.up_proj.weight"
    assert parts[f"{name}.up"].shape[1] < 5
    torch.testing.assert_close(
        weight + parts[f"{name}.up"] @ parts[f"{name}.down"],
        before.model.layers[0].mlp.up_proj.weight.data,
    )
    assert low_rank(torch.eye(4, dtype=torch.float64)) is None
