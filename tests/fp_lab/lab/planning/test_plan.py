"""Memory planning against closed forms, published figures, and real small models of the same classes."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from fp_lab.backbones.diffusers.lora import LoraConfig, add_lora
from fp_lab.backbones.diffusers.presets import MODELS, RealModel
from fp_lab.lab.planning.activations import watched
from fp_lab.lab.planning.memory import GIB, Hardware, Training, float32_state, largest_batch, mixed_state
from fp_lab.lab.planning.packed_model import Packed, Tokens
from fp_lab.lab.planning.plan import plan
from fp_lab.lab.planning.step_flops import Way, operations
from fp_lab.lab.planning.tables import as_json, plan_tables
from fp_lab.lab.planning.trace import Trace, attention_flops, trace
from fp_lab.lab.tables import Line, to_markdown
from small_models import SMALL, TOKENS, WIDE, WIDE_TOKENS, call, real, small


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_those_of_the_real_module(name: str) -> None:
    model = small(name)
    assert trace(model, TOKENS).parameters == sum(p.numel() for p in real(model).parameters())


def test_sections_of_other_lengths_share_the_trace_of_equal_tokens() -> None:
    """The 13B model takes seconds, and claims plan it for windows of 3, 5 and 9 frames."""
    longer, shorter = (replace(small("base"), recipe=f"td_f20k4f1k1_g{length}") for length in (9, 3))
    assert trace(longer, TOKENS) is trace(shorter, TOKENS)
    deeper = replace(longer, recipe="td_f4k2f1k1_g9")
    assert trace(deeper, TOKENS).packer != trace(longer, TOKENS).packer


@pytest.mark.parametrize("name", SMALL)
def test_activations_are_those_that_real_hooks_see(name: str) -> None:
    model = small(name)
    module = real(model)
    seen: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in (*module.parameters(), *module.buffers())}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            alive.append(storage)
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call(module)
    assert trace(model, TOKENS).activations == pytest.approx(sum(seen.values()), rel=0.02)


@pytest.mark.parametrize("name", ["base", "wan-1.3b"])
def test_memory_is_what_a_real_step_has_alive(name: str) -> None:
    tokens, model = Tokens(700, 200), small(name)
    module = real(model)
    cost = trace(model, tokens)
    assert cost.activations == pytest.approx(most_alive(module, tokens), rel=0.1)
    module.zero_grad(set_to_none=True)
    for block in module.blocks:
        forward = block.forward
        block.forward = lambda *a, f=forward, **k: checkpoint(f, *a, use_reentrant=False, **k)
    assert cost.checkpointed == pytest.approx(most_alive(module, tokens), rel=0.05)
    assert cost.checkpointed < cost.activations / 2


def most_alive(module: Packed, tokens: Tokens) -> int:
    """Peak bytes of tensors in a real forward and backward pass, parameters and their gradients left out."""
    tracker = MemTracker()
    tracker.track_external(module)
    with tracker:
        call(module, tokens).float().mean().backward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return int(peak["Total"] - peak["Parameter"] - peak["Buffer"] - peak["Gradient"])


def test_hooks_are_gone_afterwards() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.GELU())
    with watched(module, [module[0]]) as kept:
        module(torch.randn(2, 4))
    once = kept.total
    module(torch.randn(2, 4))
    assert kept.total == once == 2 * (2 * 4 * 4)  # inputs of the linear layer and of the activation


def test_attention_is_four_n_squared_d_per_layer() -> None:
    model = small("wan-1.3b")
    n, width, layers = TOKENS.total, 32, 3
    cost = trace(model, TOKENS)
    assert cost.attention_flops == layers * (4 * n * n * width + 4 * n * model.words * width)


@pytest.mark.parametrize("name", SMALL)
def test_operations_are_those_that_the_unfused_attention_shows(name: str) -> None:
    model = small(name)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        call(real(model))
    assert trace(model, TOKENS).flops == counter.get_total_flops()
    assert operations(model, TOKENS, Way()).forward == counter.get_total_flops(), "of steps of a few tokens"


def test_attention_of_other_queries_and_keys() -> None:
    shape = ([2, 3, 5, 8], [2, 3, 7, 8], [2, 3, 7, 8])
    q, k, v = (torch.randn(s) for s in shape)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert attention_flops(*shape) == counter.get_total_flops() == 4 * 2 * 5 * 7 * 3 * 8


@pytest.mark.parametrize(
    ("name", "deep", "added"),
    [
        ("wan-1.3b", {"num_layers": 6}, 4 * 2 * 6 * 32 * 2),  # keys and values of 6 words
        ("base", {"num_layers": 3, "num_single_layers": 5}, 0),
    ],
)
def test_inference_peak_is_that_of_a_real_deep_model(name: str, deep: dict[str, int], added: int) -> None:
    model, flat = small(name, **deep), small(name, **dict.fromkeys(deep, 2))
    tracker, module = MemTracker(), real(model)
    tracker.track_external(module)
    with torch.no_grad(), tracker:
        call(module)
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    found = trace(model, TOKENS).inference
    assert found == peak["Total"] - peak["Parameter"] - peak["Buffer"]
    assert found - trace(flat, TOKENS).inference == added


def test_state_by_hand() -> None:
    assert float32_state(10).total == 200
    full = mixed_state(1000, 1000, 50)
    assert full.per_card("ddp", 4) == full.total == 1000 * (2 + 2 + 12 + 4)
    assert full.per_card("zero1", 4) == 1000 * (2 + 2 + 16 / 4)
    assert full.per_card("zero2", 4) == 1000 * (2 + 18 / 4)
    assert full.per_card("fsdp", 4) == 1000 * 20 / 4 + 2 * 2 * 50
    assert full.per_card("fsdp", 1) == full.total
    assert mixed_state(1000, 10, 50).total == 2000 + 10 * 18


def test_state_is_what_adamw_holds() -> None:
    model = nn.Linear(64, 64, bias=False)
    optimizer = torch.optim.AdamW(model.parameters())
    average = [p.detach().clone() for p in model.parameters()]
    model(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    held = [*model.parameters(), *average, *(p.grad for p in model.parameters() if p.grad is not None)]
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    assert float32_state(64 * 64).total == sum(t.numel() * 4 for t in (*held, *moments))


def test_largest_batch_fits_and_one_more_does_not() -> None:
    batch = largest_batch(80 * GIB, 24.5 * GIB, 9.4 * GIB)
    assert 24.5 + batch * 9.4 <= 80 < 24.5 + (batch + 1) * 9.4
    assert largest_batch(GIB, 2 * GIB, 1.0) == 0


@pytest.mark.parametrize("model", [*map(small, SMALL), MODELS["wan-14b"]], ids=[*SMALL, "14b"])
def test_adapters_are_those_that_training_adds(model: RealModel) -> None:
    assert_adapters_are_counted(model, trace(model, Tokens(4)))


def assert_adapters_are_counted(model: RealModel, cost: Trace) -> None:
    """Against those that training adds to the same model on no memory."""
    rank = 3
    with torch.device("meta"):
        module = Packed(model)
        add_lora(module.backbone.transformer, LoraConfig(rank=rank))
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert cost.packer == sum(p.numel() for p in module.packer.parameters())
    assert rank * cost.low_rank + cost.packer == trained
    state = Training("lora", rank=rank).state(cost)
    assert state.weights == 2 * sum(p.numel() for p in module.parameters())
    assert (state.gradients, state.optimizer, state.averaged) == (2 * trained, 12 * trained, 4 * trained)


def test_operations_of_training() -> None:
    cost = replace(trace(small("wan-1.3b"), TOKENS), matmul_flops=100, attention_flops=10)
    assert Training("full", checkpointing=False).flops(cost) == 3 * 110
    assert Training("full", checkpointing=True).flops(cost) == 4 * 110
    assert Training("lora", checkpointing=False).flops(cost) == 110 + 100 + 20


def test_plan_of_a_small_model_by_hand() -> None:
    model = small("base")
    made = plan(
        model, recipe="td_f2k2f1k1_g3", pixels="64x96", frames=9, hardware=Hardware(2, 0.001, 1.0, 0.5)
    )
    assert made.packed_tokens == Tokens(3 * 4 * 6, 4 * 6 + 2 * 3)
    assert made.full_tokens == Tokens(9 * 4 * 6)
    fit, usable = made.chosen, 0.95 * 0.001 * GIB
    training = Training()
    state = training.state(made.packed).per_card("fsdp", 2)
    assert fit.state == state
    assert fit.packed == 2 * max(0, int((usable - state) // made.packed.checkpointed))
    assert made.hours(made.packed) == pytest.approx(
        made.samples * training.flops(made.packed) / (2 * 0.5e12) / 3600
    )
    assert made.time_ratio == training.flops(made.full) / training.flops(made.packed)
    assert made.memory_ratio == made.full.checkpointed / made.packed.checkpointed


def test_the_briefs_batches_come_out_at_13b() -> None:
    made = plan("base")
    assert made.chosen.full == 16
    assert 48 <= made.chosen.packed <= 64
    assert made.batch_ratio == made.chosen.packed / 16
    assert 5 <= made.time_ratio <= 6.5
    joint = 17_160 + 256 + 729  # words and the image's tokens are in the same stream
    assert made.packed.attention_flops == pytest.approx(60 * 4 * joint**2 * 3072, rel=1e-3)
    assert made.full.matmul_flops == pytest.approx(0.70e15, rel=0.02)
    assert made.full.activations > 10 * made.full.checkpointed
    assert_adapters_are_counted(made.model, made.packed)
    assert json.loads(json.dumps(as_json(made)))["closed_form"] == 3120
    lines = [line for table in plan_tables([made]) for line in table.lines]
    assert all(isinstance(line, Line) for line in lines)
    text = "\n".join(map(to_markdown, plan_tables([made])))
    assert "3,120.0" in text
    assert "Llama 3 8B, CLIP-L, SigLIP so400m, VAE" in text
    assert re.search(r"\| 16 to 56 +\|.*\| `base` +\|", text)
    assert re.search(r"the paper's project\* +\| 16 to 64 +\|", text)
    assert "No sample fits: full fine-tuning, checkpointing (ddp, zero1)." in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "bas"}, r"'bas', .*'base'\?"),
        ({"recipe": "ta_f1k1_g9"}, r"recipe: got ta_f1k1_g9, .*\bbound\b"),
        ({"pixels": "480"}, "HEIGHTxWIDTH"),
        ({"frames": 0}, r"got 0 frames .*expected .*\b1\b"),
    ],
)
def test_mistakes_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hardware(cards=0), "cards: got 0"),
        (lambda: Hardware(cards=1_000_001), "cards: got 1000001"),
        (lambda: Hardware(memory_gb=0.0), "memory_gb: got 0"),
        (lambda: Hardware(memory_gb=1e300), r"memory_gb: got 1e\+300, expected"),
        (lambda: Hardware(tflops=1e300), r"tflops: got 1e\+300"),
        (lambda: Training(rank=1_000_000_000), "rank: got 1000000000"),
        (lambda: plan("base", pixels="100000x100000"), "pixels: got '100000x100000', expected .*16384"),
        (lambda: Hardware(utilisation=1.5), "utilisation: got 1.5"),
        (lambda: Training(rank=0), "rank: got 0"),
    ],
)
def test_impossible_cards_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


RSS = """
from small_models import WIDE, WIDE_TOKENS, call, real, small

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

model = small("wan-1.3b", **WIDE)
module = real(model)
call(module, WIDE_TOKENS).float().mean().backward()
before = resident()
output = call(module, WIDE_TOKENS)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_grows_by_the_activations(request: pytest.FixtureRequest) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RSS],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": str(request.config.rootpath / "tests"),
            "OMP_NUM_THREADS": "1",
            "MALLOC_MMAP_THRESHOLD_": "65536",  # what is freed goes back to the system
        },
    )
    assert done.returncode == 0, done.stderr
    kept = trace(small("wan-1.3b", **WIDE), WIDE_TOKENS).activations
    assert kept == pytest.approx(int(done.stdout), rel=0.1)
