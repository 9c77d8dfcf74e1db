"""WGSL validation of every generated shader by Dawn (Chromium) and naga (the package `wgpu`)."""
import json
import subprocess
from types import SimpleNamespace

import environment
import golden_programs
import gpu_programs
import node
import pytest
import wgpu

import tensorbrook as tf
from backends import on
from tensorbrook.backends import get_backend
from tensorbrook.backends.webgpu import peak_rates, target_info, subgroup_probe, shader_templates
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.host_wgpu import strip_subgroup_directive
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.eager import plan_for, simplify_for
from tensorbrook.ir import Graph

# Device information, and the optional WebGPU features of the device.
DEVICES = {
    "minimal": (DeviceInfo(), ()),
    "software": (DeviceInfo(is_software=True), ()),
    "subgroups": (DeviceInfo(min_subgroup_size=4), ("subgroups",)),
    "float16": (DeviceInfo(f16=True), ("shader-f16",)),
    "both": (DeviceInfo(min_subgroup_size=32, f16=True), ("subgroups", "shader-f16")),
}
IN_FLOAT16 = ", in float16"
TEMPLATES = sorted(path.name.removesuffix(".wgsl") for path in (
    environment.ROOT / "core/tensorbrook/backends/webgpu/templates").glob("*.wgsl"))


def naga_errors(shaders: dict[str, str]) -> dict[str, str]:
    """Return naga's error for each invalid shader, by the name of its program."""
    device, errors = get_backend("webgpu").host.host.device, {}
    for code, name in shaders.items():
        try:
            device.create_shader_module(code=strip_subgroup_directive(code))
        except wgpu.GPUError as error:
            errors[name] = f"{error}\n{code}"
    return errors


def dawn_errors(shaders: dict[str, str], features) -> dict[str, str]:
    """Return Dawn's error for each invalid shader, by the name of its program."""
    requests = [{"code": code, "features": features} for code in shaders]
    done = subprocess.run([node.find().node, environment.ROOT / "web/validate_wgsl.mjs"],
                          input=json.dumps(requests), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    return {shaders[code]: f"{error}\n{code}" for code, error in zip(shaders, errors, strict=True)
            if error}


class Rendered:
    """The shaders of all programs for all devices, and the template variants that they use."""

    def __init__(self):
        self.shaders: dict[str, dict[str, str]] = {}   # device -> {shader: a program that has it}
        # (template, condition, whether it was true); the condition "" is always true.
        self.variants: set[tuple[str, str, bool]] = set()
        self._names = {shader_templates.load_source(name): name for name in TEMPLATES}
        self._apply_conditionals = shader_templates._apply_conditionals

    def apply_conditionals(self, text: str, flags) -> str:
        """Record the variant; otherwise as the function of `shader_templates`."""
        name = self._names[text]
        self.variants.add((name, "", True))
        self.variants |= {(name, flag, bool(flags.get(flag, False))) for flag in flags_of(name)}
        return self._apply_conditionals(text, flags)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """Every program for every device."""
    result, graphs = Rendered(), all_graphs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shader_templates, "_apply_conditionals", result.apply_conditionals)
        for device, (device_info, _) in DEVICES.items():
            shaders = {shader: name for name, graph in graphs.items()
                       if device_info.f16 or not name.endswith(IN_FLOAT16)
                       for shader in shaders_of(graph, device_info)}
            shaders |= dict.fromkeys(peak_rates.shaders(), "peak rates")
            if device_info.min_subgroup_size:
                shaders |= dict.fromkeys(subgroup_probe.probe_shaders(), "subgroup probe")
            result.shaders[device] = shaders
    return result


def all_graphs() -> dict[str, Graph]:
    """Return the graph of each program, by its name."""
    programs = gpu_programs.PROGRAMS
    makers = {f"golden {name}": make for name, make in golden_programs.PROGRAMS.items()}
    makers |= {name: lambda program=program: program for name, program in programs.items()}
    makers |= {f"{name}{IN_FLOAT16}": lambda name=name: gpu_programs.in_float16(programs[name])
               for name in gpu_programs.FLOAT16}
    makers |= {f"{name}, cast{IN_FLOAT16}":
               lambda name=name: gpu_programs.with_float16_casts(programs[name])
               for name in gpu_programs.FLOAT16_CASTS}
    makers[f"training step{IN_FLOAT16}"] = gpu_programs.mixed_step
    with on("reference"):
        return {name: tf.function(f).get_concrete_function(*arguments).graph
                for name, make in makers.items() for f, arguments in (make(),)}


def shaders_of(graph: Graph, device_info: DeviceInfo) -> tuple[str, ...]:
    device = SimpleNamespace(target=target_info(device_info))
    return compile_plan(plan_for(simplify_for(graph, device), device), device_info).shaders


@pytest.mark.parametrize("name", DEVICES)
def test_dawn_accepts_every_shader(name, rendered):
    assert dawn_errors(rendered.shaders[name], DEVICES[name][1]) == {}


def test_naga_accepts_every_shader(rendered):
    assert naga_errors({code: f"{name} ({device})" for device, shaders in rendered.shaders.items()
                        for code, name in shaders.items()}) == {}


@pytest.mark.parametrize("code, message", [
    ("fn other() {}", "main"),
    ("@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }", "1.5"),
    ("enable f16;\n@compute @workgroup_size(1) fn main() {}", "f16"),
    ("@compute @workgroup_size(1024) fn main() {}", "1024"),
])
def test_dawn_rejects_invalid_shaders(code, message):
    assert message in dawn_errors({code: "invalid"}, ())["invalid"]


def test_naga_rejects_invalid_shaders():
    code = "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }"
    assert "1.5" in naga_errors({code: "invalid"})["invalid"]


# ── coverage of the template variants ─────────────────────────────────────────────────────────


def flags_of(name: str) -> set[str]:
    lines = (line.strip() for line in shader_templates.load_source(name).splitlines())
    return {line.removeprefix("// if ") for line in lines if line.startswith("// if ")}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_variant_of_a_template_is_rendered(name, rendered):
    variants = {(name, flag, value) for flag in flags_of(name) for value in (True, False)}
    missing = ({(name, "", True)} | variants) - rendered.variants
    assert not missing, f"no program of gpu_programs.py renders {sorted(missing)}"


@pytest.mark.parametrize("constant", [
    "TILE_M: u32 = 128u", "TILE_ROWS: u32 = 128u", "COLUMN_BLOCKS: u32 = 2u",
    "GROUP_ITEMS: u32 = 1024u"])
def test_the_shaders_with_the_most_workgroup_memory_are_rendered(constant, rendered):
    assert any(f"\nconst {constant};" in code for code in rendered.shaders["minimal"])
