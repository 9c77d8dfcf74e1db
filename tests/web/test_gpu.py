"""The GPU in a page, with a software adapter (SwiftShader): both transports, errors, and the number
of host calls of a training step."""

from __future__ import annotations

import pytest
from pages import open_page, run_and_stop
from playwright.sync_api import Browser, Page
from test_program_cache_in_page import visit

TRANSPORTS = ("jspi", "worker")


@pytest.fixture(scope="module", params=TRANSPORTS)
def page(request, gpu_browser: Browser, site_url: str):
    """A page per transport that the tests share; its device must survive every test."""
    page = open_page(gpu_browser, f"{site_url}run.html?threads=2&gpu={request.param}")
    assert page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == request.param
    yield page
    page.close()


def stdout_of(page: Page, source: str) -> str:
    """The output of a script that must succeed."""
    result = page.evaluate("source => tensorbrook.runPython(source)", source)
    assert result["error"] is None, result
    return result["stdout"]


# A host with a handwritten program: out = 2 x + 1, applied twice, by way of the arena.
HOST_SETUP = """
import asyncio
from array import array
from tensorbrook.backends.webgpu.host_page import Host
from tensorbrook.backends.webgpu.compiled_program import Binding, Commands, Copy, Dispatch

N, SIZE = 1000, 4000
CODE = '''
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if (at.x < arrayLength(&out)) { out[at.x] = 2 * x[at.x] + 1; }
}
'''

def commands(code=CODE, stamps=0):
    x, out, arena = (Binding(n, 0, SIZE, n != 1) for n in (1, 2, 0))
    arena_read = Binding(0, 0, SIZE, False)
    steps = (Dispatch(0, (x, out), (16, 1, 1)), Copy(out, arena),
             Dispatch(0, (arena_read, out), (16, 1, 1)))
    return Commands((code,), ("doubled",), steps, stamps).to_bytes()

def read(buffer, size):
    return host.read_many([(buffer, size)])[0]

def set_up():
    global program, arena, x, out
    program = host.load(commands())
    arena, x, out = (host.new(SIZE) for _ in range(3))
    host.write(x, array("f", range(N)))

def result():
    return array("f", read(out, SIZE)).tolist()

def error(f, *args):
    try:
        f(*args)
    except Exception as e:
        return type(e).__name__, str(e)

host = Host()
EXPECTED = [4.0 * i + 3 for i in range(N)]
set_up()
"""


def test_passes_and_copies_of_a_program_run_in_one_submit(page: Page):
    assert stdout_of(page, HOST_SETUP + """
before = host.calls, host.submits, host.dispatches
host.run(program, (arena, x, out))
print(host.calls - before[0], host.submits - before[1], host.dispatches - before[2])
print(result() == EXPECTED)
""") == "1 1 2\nTrue\n"


def test_programs_share_pipelines(page: Page):
    assert stdout_of(page, HOST_SETUP + """
before = host.pipelines
other = host.load(commands())
host.unload(program)
host.run(other, (arena, x, out))
print(host.pipelines - before, result() == EXPECTED)
host.load(commands(CODE + "// another"))
print(host.pipelines - before)
""") == "0 True\n1\n"


def test_timestamps_of_each_dispatch(page: Page):
    assert stdout_of(page, HOST_SETUP + """
timed = host.load(commands(stamps=32))
stamps = host.new(32)
before = host.submits
host.run(timed, (arena, x, out, stamps))
ticks = array("Q", read(stamps, 32)).tolist()
print(host.device_info.timestamp_period_ns, ticks[0] > 0, ticks == sorted(ticks),
      ticks[3] > ticks[0])
print(host.submits - before, result() == EXPECTED)
""") == "1 True True True\n2 True\n"


def test_subgroups_hold_consecutive_invocations(page: Page):
    """SwiftShader's subgroups have four invocations."""
    assert stdout_of(page, HOST_SETUP + """
from tensorbrook.backends.webgpu.subgroup_probe import verify_subgroups
print(host.device_info.min_subgroup_size, verify_subgroups(host).min_subgroup_size)
""").split() == ["4", "4"]


def test_a_profile_times_every_kernel(page: Page):
    assert stdout_of(page, """
import tensorbrook as tf
from tensorbrook.backends.webgpu import WebGPU
from tensorbrook.backends.webgpu.profile import GpuProfile
tf.config.set_backend("webgpu")
WebGPU.profile = profile = GpuProfile()
f = tf.function(lambda x: tf.nn.softmax(tf.matmul(x, x) * 3.25))
x = tf.ones((33, 33))
for _ in range(3):
    f(x)
WebGPU.profile = None
times = profile.programs[-1]
print(times.runs, [t.calls for t in times.steps] == [3] * len(f.plan.steps))
print(all(t.busy_ms > 0 for t in times.steps))
tf.config.set_backend("wasm")
""") == "3 True\nTrue\n"


def test_runs_are_queued_in_order_with_two_in_flight(page: Page):
    assert stdout_of(page, HOST_SETUP + """
num_full = 0
for i in range(20):
    host.wait_for_queue_space()
    host.run(program, (arena, *((x, out) if i % 2 == 0 else (out, x))))
    num_full += host._is_queue_full()
value = 0.0
for _ in range(40):
    value = 2 * value + 1
first = array("f", read(x, 4))[0]
print(first == array("f", [value])[0], num_full > 0)
""") == "True True\n"


def test_copies_precede_a_program_in_its_submit(page: Page):
    assert stdout_of(page, HOST_SETUP + """
y, z = host.new(SIZE), host.new(8)
print(array("f", read(y, 8)).tolist())         # a new buffer is zero-filled
before = host.calls, host.submits
host.run(program, (arena, y, out), [(x, y, SIZE), (x, z, 8)])
print(host.calls - before[0], host.submits - before[1], result() == EXPECTED)
print([array("f", data).tolist() for data in host.read_many([(z, 8), (out, 4), (y, 8)])])
print(host.calls - before[0], host.submits - before[1])
host.free(y)
""") == "[0.0, 0.0]\n1 1 True\n[[0.0, 1.0], [3.0], [0.0, 1.0]]\n3 3\n"


def test_asyncio_tasks_can_read(page: Page):
    assert stdout_of(page, HOST_SETUP + """
host.run(program, (arena, x, out))
async def first(n):
    return array("f", read(out, 4 * n)).tolist()
async def read_all():
    return await asyncio.gather(*[asyncio.ensure_future(first(n)) for n in (1, 2, 3)])
print(asyncio.run(read_all()))
""") == "[[3.0], [3.0, 7.0], [3.0, 7.0, 11.0]]\n"


def test_tapes_of_a_waiting_task_are_suspended(gpu_browser: Browser, site_url: str):
    page = open_page(gpu_browser, f"{site_url}run.html?gpu=jspi&backend=webgpu")
    assert stdout_of(page, """
import asyncio
import tensorbrook as tf

x = tf.constant(3.0)

async def other():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x * x
        await asyncio.sleep(0)
    return float(tape.gradient(y, x))

async def waiting():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        for _ in range(5):
            float(y + 1.0)
    return float(tape.gradient(y, x))

async def both():
    return await asyncio.gather(asyncio.ensure_future(waiting()), asyncio.ensure_future(other()))
print(asyncio.run(both()))
""") == "[6.0, 27.0]\n"
    page.close()


def test_the_error_of_a_shader_contains_the_line(page: Page):
    output = stdout_of(page, HOST_SETUP + """
print(error(host.load, commands("fn main() {\\n  oops; }")))
print(len(read(out, 4)))
""")
    assert "InternalError" in output and "the kernel" in output and "doubled" in output
    assert "in line 2: oops; }" in output and output.endswith("\n4\n")


def test_the_error_of_a_command_is_raised_by_the_next_read(page: Page):
    output = stdout_of(page, HOST_SETUP + """
host.run(program, (arena, x, arena))          # a copy of a buffer onto itself
print(error(read, out, 4))
print(len(read(out, 4)))
""")
    assert "InternalError" in output and "the GPU refused a command" in output
    assert output.endswith("\n4\n")


def test_calls_on_a_lost_device_fail_until_it_is_reopened(gpu_browser: Browser, site_url: str):
    for transport in TRANSPORTS:
        page = open_page(gpu_browser, f"{site_url}run.html?gpu={transport}")
        assert stdout_of(page, HOST_SETUP + """
print(host.lost)
for _ in range(3):
    host.run(program, (arena, x, out))
host.destroy()
print(error(read, out, 4)[0], error(host.run, program, (arena, x, out))[0])
print(error(host.load, commands(CODE + "// new"))[0], host.lost is not None)
host.reopen_device()
set_up()
for _ in range(5):
    host.run(program, (arena, x, out))
print(host.lost, result() == EXPECTED)
""") == ("None\nUnavailableError UnavailableError\nUnavailableError True\nNone True\n")
        page.close()


def test_a_failed_allocation_is_a_memory_error(page: Page):
    """SwiftShader reports a maximum buffer size of 1 GB, but cannot allocate such a buffer: each
    attempt fails and uses no memory."""
    assert stdout_of(page, HOST_SETUP + """
print(error(host.new, host.device_info.buffer_bytes + 4)[0])
errors = [error(host.new, 1 << 30) for _ in range(20)]
print({kind for kind, _ in errors},
      all("the GPU has no memory left" in text for _, text in errors))
host.run(program, (arena, x, out))
print(result() == EXPECTED)
""") == "MemoryError\n{'ResourceExhaustedError'} True\nTrue\n"


RUN_AND_COMPARE = "host.run(program, (arena, x, out))\nprint(result() == EXPECTED)"
ENDLESS = HOST_SETUP + """
print("started", flush=True)
while True:
    host.run(program, (arena, x, out))
    read(out, 4)
"""


def test_a_script_that_waits_for_the_gpu_repeatedly_can_be_stopped(page: Page):
    outcome, restarts = run_and_stop(page, ENDLESS, after_ms=None)
    assert (outcome["exit_code"], restarts) == (130, [])
    assert stdout_of(page, HOST_SETUP + RUN_AND_COMPARE) == "True\n"


STEPS = """
import tensorbrook as tf

tf.config.set_backend("webgpu")
layers = tf.keras.layers
model = tf.keras.Sequential([tf.keras.Input((8,)), layers.Dense(16, "relu"), layers.Dense(10)])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
batch = tf.random.normal((32, 8)), tf.random.uniform((32,), 0, 10, tf.int32)
step = model.make_train_function()
step(batch)

def cost(f):
    before = tf.config.get_counters()
    result = f()
    after = tf.config.get_counters()
    print(*(after[name] - before[name]
            for name in ("host_calls", "programs", "submits", "compiled", "pipelines")))
    return result

cost(lambda: [step(batch) for _ in range(10)])
weights = cost(model.get_weights)
old_values = [w.value() for w in model.weights]
cost(lambda: step(batch))
print(weights == [t.tolist() for t in old_values] != [w.tolist() for w in model.weights])
tf.config.set_backend("wasm")
"""


def test_a_training_step_is_one_host_call_and_one_submit(page: Page):
    """Also while tensors hold the old weights; reading all weights costs one of each too."""
    # The page of the tests has no NumPy, so get_weights cannot return arrays.
    lists = STEPS.replace("model.get_weights",
                          "lambda: [t.tolist() for t in fetch_all(model.weights)]")
    assert stdout_of(page, "from tensorbrook.tensor import fetch_all\n" + lists) == (
        "10 10 10 0 0\n1 0 1 0 0\n1 1 1 0 0\nTrue\n")


INTERRUPTED = """
import sys
import tensorbrook as tf
from tensorbrook import backends
from tensorbrook.backends.webgpu import host_page, device_recovery

tf.config.set_backend("webgpu")
host = backends.get_backend("webgpu").host
v = tf.Variable([1.0, 2.0])
step = tf.function(lambda: v.assign_add([1.0, 1.0]))
step()

def at_line(n, file):
    def trace(frame, event, arg):
        nonlocal n
        if frame.f_code.co_filename != file:
            return None
        n -= event == "line"
        if n == 0:
            n = -1
            raise KeyboardInterrupt
        return trace
    sys.settrace(trace)
    try:
        step()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return n < 0

runs = []
for module in device_recovery, host_page:
    n = 1
    host.checkpoint()
    before = v.tolist()[0]
    while at_line(n, module.__file__):
        runs.append(sum(name == "run" for name, *_ in host._state.log))
        if v.tolist()[0] != before + runs[-1]:
            print("line", n, "of", module.__name__)
        host.checkpoint()
        n, before = n + 1, v.tolist()[0]
    print(n > 3, sorted(set(runs)))
tf.config.set_backend("wasm")
"""


def test_an_interrupt_at_any_line_leaves_the_state_that_the_log_records(page: Page):
    assert stdout_of(page, INTERRUPTED) == "True [0, 1]\nTrue [0, 1]\n"


def test_a_second_visit_compiles_nothing_for_the_gpu(gpu_browser: Browser, site_url: str):
    context = gpu_browser.new_context()
    first_losses, num_compiled = visit(context, f"{site_url}run.html?backend=webgpu", 0)
    losses, num_compiled_again = visit(
        context, f"{site_url}run.html?backend=webgpu", num_compiled)
    assert num_compiled >= 1 and num_compiled_again == 0
    assert losses == first_losses
    _, num_compiled_wasm = visit(context, f"{site_url}run.html", num_compiled)
    assert num_compiled_wasm >= 1, "backend wasm has separate programs"
    context.close()


def test_a_page_without_isolation_uses_jspi(gpu_browser: Browser, unisolated_url: str):
    page = open_page(gpu_browser, f"{unisolated_url}run.html")
    assert page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == "jspi"
    assert stdout_of(page, HOST_SETUP + RUN_AND_COMPARE) == "True\n"
    page.close()


def test_the_worker_transport_requires_isolation(gpu_browser: Browser, unisolated_url: str):
    page = open_page(gpu_browser, f"{unisolated_url}run.html?gpu=worker")
    gpu = page.evaluate("tensorbrook.runtime.boot()")["gpu"]
    assert not gpu["present"] and "requires cross-origin isolation" in gpu["reason"]
    page.close()


def test_a_page_without_a_gpu_reports_it_and_wasm_works(runtime: Page):
    gpu = runtime.evaluate("tensorbrook.runtime.boot()")["gpu"]
    assert not gpu["present"] and gpu["reason"]
    assert "no GPU" in runtime.get_by_test_id("status").inner_text()
    assert stdout_of(runtime, """
import tensorbrook as tf
try:
    tf.config.set_backend("webgpu")
except tf.errors.UnavailableError as error:
    print(error)
print(tf.config.get_backend(), float(tf.constant(1.0) + 1.0))
""") == (f"backend webgpu: {gpu['reason']}; compute on wasm, or open the page where there is "
         "a GPU (tensorbrook run --software-gpu uses a software adapter)\n"
         "wasm 2.0\n")


def test_a_plain_javascript_callback_cannot_wait_with_jspi(page: Page):
    output = stdout_of(page, HOST_SETUP + """
import js
from pyodide.ffi import create_proxy
host.run(program, (arena, x, out))
errors = []
def callback(*_):
    errors.append(error(read, out, 4))
js.Reflect.apply(create_proxy(callback), None, js.Array.new())
print(errors)
""")
    is_jspi = page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == "jspi"
    assert ("cannot wait for the GPU" in output) is is_jspi
