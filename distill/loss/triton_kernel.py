"""The Triton kernel of one block of the distillation loss: logits in, gradient out, one program a
row.

Only distill/loss/triton_block.py imports this file: it needs triton, which the CUDA builds of torch
bring. Letters: v the vocabulary ids of one tile. z are the student's logits, w = z / temperature, q
the softmax of w; y and p the teacher's, also over the temperature. A softmax is kept as its row's
maximum (`top`) and sum of exp(x - top) (`mass`): a log-sum-exp alone would lose digits where logits
are in the hundreds.
"""

import triton
import triton.language as tl

# of a mixture's probability; a GPU may take what is below 1.2e-38, the smallest normal number, for
# 0
FLOOR = tl.constexpr(2e-38)


@triton.jit
def step_(
    z_ptr,
    y_ptr,
    labels_ptr,
    weights_ptr,
    values_ptr,
    z_stride,
    y_stride,
    num_ids,
    KIND: tl.constexpr,
    BETA: tl.constexpr,
    TEMPERATURE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    TILE: tl.constexpr,
):
    """Writes the gradient of a row's weighted terms over its logits, and the terms as they are.

    Args:
        z_ptr: float32 [n, V], the student's logits before the soft cap; overwritten.
        y_ptr: float32 [n, V], the teacher's logits; not read where KIND is "none".
        labels_ptr: int64 [n].
        weights_ptr: float32 [n, 3], contiguous: kl, ce, flat.
        values_ptr: float32 [n, 3], contiguous; overwritten: kl, ce, flat, nats, without their
            weights.
        z_stride, y_stride: from row to row; the ids of a row lie side by side.
        num_ids: V.
        KIND: "none" or a divergence of distill/loss/divergences.py, which has the formulas; BETA is
            of "jsd".
        TEMPERATURE: 1 where KIND is "none".
        SOFTCAP: of z; None: not capped.
        TILE: ids at once, a power of 2.
    """
    row = tl.program_id(0).to(tl.int64)  # n * V may pass 2^31
    z_ptr += row * z_stride
    y_ptr += row * y_stride
    label = tl.load(labels_ptr + row)
    label_z = _cap(tl.load(z_ptr + label), SOFTCAP)
    top_z, mass_z, total_z = float("-inf"), 0.0, 0.0
    top_w, mass_w, top_y, mass_y, mean = float("-inf"), 0.0, float("-inf"), 0.0, 0.0
    for start in range(0, num_ids, TILE):
        z_v, inside_v = _tile(z_ptr, start, num_ids, SOFTCAP, TILE)
        total_z += tl.sum(tl.where(inside_v, z_v, 0.0), 0)
        w_v = z_v / TEMPERATURE
        top_w, mass_w, shrink_w, exp_w_v = _grow(top_w, mass_w, w_v)
        if TEMPERATURE != 1:
            top_z, mass_z, _, _ = _grow(top_z, mass_z, z_v)
        if KIND != "none":
            y_v = _tile(y_ptr, start, num_ids, None, TILE)[0] / TEMPERATURE
            top_y, mass_y, shrink_y, exp_y_v = _grow(top_y, mass_y, y_v)
            if KIND == "forward_kl":
                mean = mean * shrink_y + tl.sum(tl.where(inside_v, exp_y_v * (y_v - w_v), 0.0), 0)
            elif KIND == "reverse_kl":
                mean = mean * shrink_w + tl.sum(tl.where(inside_v, exp_w_v * (w_v - y_v), 0.0), 0)
    lse_w, lse_y = top_w + tl.log(mass_w), top_y + tl.log(mass_y)
    if TEMPERATURE == 1:
        top_z, mass_z = top_w, mass_w
    kl = 0.0
    if KIND == "forward_kl":
        kl = mean / mass_y - lse_y + lse_w
    elif KIND == "reverse_kl":
        mean = mean / mass_w
        kl = mean - lse_w + lse_y
    elif KIND == "jsd":
        kl, mean = _jsd(
            z_ptr, y_ptr, num_ids, top_w, mass_w, top_y, mass_y, BETA, TEMPERATURE, SOFTCAP, TILE
        )
    lse_z = top_z + tl.log(mass_z)
    tl.store(values_ptr + row * 3, kl)
    tl.store(values_ptr + row * 3 + 1, lse_z - label_z)
    tl.store(values_ptr + row * 3 + 2, lse_z - total_z / num_ids - tl.log(num_ids.to(tl.float32)))
    _gradient_(
        z_ptr,
        y_ptr,
        label,
        weights_ptr + row * 3,
        num_ids,
        top_z,
        mass_z,
        top_w,
        mass_w,
        top_y,
        mass_y,
        mean,
        KIND,
        BETA,
        TEMPERATURE,
        SOFTCAP,
        TILE,
    )


@triton.jit
def _gradient_(
    z_ptr,
    y_ptr,
    label,
    weights_ptr,
    num_ids,
    top_z,
    mass_z,
    top_w,
    mass_w,
    top_y,
    mass_y,
    mean,
    KIND: tl.constexpr,
    BETA: tl.constexpr,
    TEMPERATURE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    TILE: tl.constexpr,
):
    """The last pass over a row: its logits become the gradient."""
    kl, ce, flat = tl.load(weights_ptr), tl.load(weights_ptr + 1), tl.load(weights_ptr + 2)
    for start in range(0, num_ids, TILE):
        z_v, inside_v = _tile(z_ptr, start, num_ids, SOFTCAP, TILE)
        ids_v = start + tl.arange(0, TILE)
        grad_v = (
            (ce + flat) * (tl.exp(z_v - top_z) / mass_z)
            - flat / num_ids
            - tl.where(ids_v == label, ce, 0.0)
        )
        if KIND != "none":
            w_v, y_v = z_v / TEMPERATURE, _tile(y_ptr, start, num_ids, None, TILE)[0] / TEMPERATURE
            q_v, p_v = tl.exp(w_v - top_w) / mass_w, tl.exp(y_v - top_y) / mass_y
            if KIND == "forward_kl":
                kl_grad_v = q_v - p_v
            elif KIND == "reverse_kl":
                kl_grad_v = q_v * (w_v - y_v - mean)
            else:
                ratio_v = w_v - top_w - tl.log(mass_w) - _log_mixture(p_v, q_v, BETA)
                kl_grad_v = (1 - BETA) * q_v * (ratio_v - mean)
            grad_v += kl / TEMPERATURE * kl_grad_v
        if SOFTCAP is not None:
            capped_v = z_v / SOFTCAP
            grad_v *= 1 - capped_v * capped_v
        tl.store(z_ptr + ids_v, grad_v, mask=inside_v)


@triton.jit
def _jsd(
    z_ptr,
    y_ptr,
    num_ids,
    top_w,
    mass_w,
    top_y,
    mass_y,
    BETA: tl.constexpr,
    TEMPERATURE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    TILE: tl.constexpr,
):
    """The divergence, and KL(q || m) by itself, which its gradient needs: a pass of their own, m
    needs both softmaxes.
    """
    of_teacher, of_student = 0.0, 0.0
    for start in range(0, num_ids, TILE):
        z_v, inside_v = _tile(z_ptr, start, num_ids, SOFTCAP, TILE)
        log_q_v = z_v / TEMPERATURE - top_w - tl.log(mass_w)
        log_p_v = _tile(y_ptr, start, num_ids, None, TILE)[0] / TEMPERATURE - top_y - tl.log(mass_y)
        q_v, p_v = tl.exp(log_q_v), tl.exp(log_p_v)
        log_m_v = _log_mixture(p_v, q_v, BETA)
        of_teacher += tl.sum(tl.where(inside_v, p_v * (log_p_v - log_m_v), 0.0), 0)
        of_student += tl.sum(tl.where(inside_v, q_v * (log_q_v - log_m_v), 0.0), 0)
    return BETA * of_teacher + (1 - BETA) * of_student, of_student


@triton.jit
def _log_mixture(p_v, q_v, BETA: tl.constexpr):
    return tl.log(tl.maximum(BETA * p_v + (1 - BETA) * q_v, FLOOR))


@triton.jit
def _grow(top, mass, x_v):
    """Takes a tile into a running softmax: its new top and mass, what older sums shrink by, and
    exp(x - top).
    """
    grown = tl.maximum(top, tl.max(x_v, 0))
    shrink, exp_v = tl.exp(top - grown), tl.exp(x_v - grown)
    return grown, mass * shrink + tl.sum(exp_v, 0), shrink, exp_v


@triton.jit
def _tile(row_ptr, start, num_ids, SOFTCAP: tl.constexpr, TILE: tl.constexpr):
    """Logits, minus infinity past the end of the row; and which of them are in the row."""
    ids_v = start + tl.arange(0, TILE)
    inside_v = ids_v < num_ids
    x_v = _cap(tl.load(row_ptr + ids_v, mask=inside_v, other=0.0), SOFTCAP)
    return tl.where(inside_v, x_v, float("-inf")), inside_v


@triton.jit
def _cap(x, SOFTCAP: tl.constexpr):
    if SOFTCAP is None:
        return x
    else:
        shrunk = tl.exp(-2 / SOFTCAP * tl.abs(x))  # tanh, which triton.language does not have
        capped = SOFTCAP * (1 - shrunk) / (1 + shrunk)
        return tl.where(x < 0, -capped, capped)
