"""Every shader that is rendered, as Dawn sees it, the WebGPU of Chromium, where no GPU takes part,
and as naga does, that of the package `wgpu`."""
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

# A device, and the features by which WebGPU's standard calls what it can do beyond the least.
DEVICES = {
    "plain": (DeviceInfo(), ()),
    "software": (DeviceInfo(is_software=True), ()),
    "subgroups": (DeviceInfo(min_subgroup_size=4), ("subgroups",)),
    "halves": (DeviceInfo(f16=True), ("shader-f16",)),
    "both": (DeviceInfo(min_subgroup_size=32, f16=True), ("subgroups", "shader-f16")),
}
HALF = ", in float16"
TEMPLATES = sorted(path.name.removesuffix(".wgsl") for path in (
    environment.ROOT / "core/tensorbrook/backends/webgpu/templates").glob("*.wgsl"))


def refused(shaders: dict[str, str]) -> dict[str, str]:
    """What naga says against shaders, by the names of their programs."""
    device, said = get_backend("webgpu").host.host.device, {}
    for code, name in shaders.items():
        try:
            device.create_shader_module(code=strip_subgroup_directive(code))
        except wgpu.GPUError as error:
            said[name] = f"{error}\n{code}"
    return said


def mistakes(shaders: dict[str, str], features) -> dict[str, str]:
    """What Dawn says against shaders, by the names of their programs."""
    asked = [{"code": code, "features": features} for code in shaders]
    done = subprocess.run([node.find().node, environment.ROOT / "web/validate_wgsl.mjs"],
                          input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {shaders[code]: f"{error}\n{code}" for code, error in zip(shaders, said, strict=True)
            if error}


class Rendered:
    """What the programs become for the devices."""

    def __init__(self):
        self.shaders: dict[str, dict[str, str]] = {}       # by device: shader -> a program with it
        # (template, condition, whether it was true); the condition "" is always true.
        self.variants: set[tuple[str, str, bool]] = set()
        self._names = {shader_templates.load_source(name): name for name in TEMPLATES}
        self._choose = shader_templates._apply_conditionals

    def chosen(self, text: str, flags) -> str:
        """In place of the function of `templates`, to watch what it is asked for."""
        name = self._names[text]
        self.variants.add((name, "", True))
        self.variants |= {(name, flag, bool(flags.get(flag, False))) for flag in flags_of(name)}
        return self._choose(text, flags)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """Every program for every device."""
    found, graphs = Rendered(), all_graphs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shader_templates, "_apply_conditionals", found.chosen)
        for device, (device_info, _) in DEVICES.items():
            found.shaders[device] = {shader: name for name, graph in graphs.items()
                                     if device_info.f16 or not name.endswith(HALF)
                                     for shader in shaders_of(graph, device_info)}
            found.shaders[device] |= dict.fromkeys(peak_rates.shaders(), "ceilings")
            if device_info.min_subgroup_size:
                found.shaders[device] |= dict.fromkeys(subgroup_probe.probe_shaders(), "subgroups")
    return found


def all_graphs() -> dict[str, Graph]:
    """The graph of each program, by its name."""
    made = {f"golden {name}": make for name, make in golden_programs.PROGRAMS.items()}
    made |= {name: lambda of=of: of for name, of in gpu_programs.PROGRAMS.items()}
    made |= {f"{name}{HALF}": lambda name=name: gpu_programs.in_float16(gpu_programs.PROGRAMS[name])
             for name in gpu_programs.FLOAT16}
    made |= {f"{name}, cast{HALF}":
             lambda name=name: gpu_programs.with_float16_casts(gpu_programs.PROGRAMS[name])
             for name in gpu_programs.FLOAT16_CASTS}
    made[f"a step of training{HALF}"] = gpu_programs.mixed_step
    with on("reference"):
        return {name: tf.function(f).get_concrete_function(*arguments).graph
                for name, make in made.items() for f, arguments in (make(),)}


def shaders_of(graph: Graph, device_info: DeviceInfo) -> tuple[str, ...]:
    device = SimpleNamespace(target=target_info(device_info))
    return compile_plan(plan_for(simplify_for(graph, device), device), device_info).shaders


@pytest.mark.parametrize("name", DEVICES)
def test_dawn_takes_every_shader(name, rendered):
    assert mistakes(rendered.shaders[name], DEVICES[name][1]) == {}


def test_naga_takes_every_shader(rendered):
    assert refused({code: f"{name} ({device})" for device, shaders in rendered.shaders.items()
                    for code, name in shaders.items()}) == {}


@pytest.mark.parametrize("code, said", [
    ("fn other() {}", "main"),
    ("@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }", "1.5"),
    ("enable f16;\n@compute @workgroup_size(1) fn main() {}", "f16"),
    ("@compute @workgroup_size(1024) fn main() {}", "1024"),
])
def test_dawn_finds_mistakes(code, said):
    found = mistakes({code: "wrong"}, ())
    assert said in found["wrong"]


def test_naga_finds_mistakes():
    code = "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }"
    assert "1.5" in refused({code: "wrong"})["wrong"]


# ── that the programs leave nothing out ───────────────────────────────────────────────────────


def flags_of(name: str) -> set[str]:
    lines = (line.strip() for line in shader_templates.load_source(name).splitlines())
    return {line.removeprefix("// if ") for line in lines if line.startswith("// if ")}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_rendered_in_each_variant(name, rendered):
    wanted = {(name, flag, holds) for flag in flags_of(name) for holds in (True, False)}
    missing = ({(name, "", True)} | wanted) - rendered.variants
    assert not missing, f"no program of gpu_programs.py renders {sorted(missing)}"


@pytest.mark.parametrize("constant", [
    "TILE_M: u32 = 128u", "TILE_ROWS: u32 = 128u", "COLUMN_BLOCKS: u32 = 2u",
    "GROUP_ITEMS: u32 = 1024u"])
def test_what_takes_most_of_a_workgroup_is_rendered(constant, rendered):
    assert any(f"\nconst {constant};" in code for code in rendered.shaders["plain"])
