"""The GPU in a page, played by the processor (SwiftShader): both ways to wait for it, its faults,
and what a training step costs in calls."""

from __future__ import annotations

import pytest
from pages import opened, stopped
from playwright.sync_api import Browser, Page
from test_second_visit import visit

TRANSPORTS = ("jspi", "worker")


@pytest.fixture(scope="module", params=TRANSPORTS)
def page(request, gpu_browser: Browser, address: str):
    """A page with the device in Python's worker or in its own; its tests leave it alive."""
    page = opened(gpu_browser, f"{address}run.html?threads=2&gpu={request.param}")
    assert page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == request.param
    yield page
    page.close()


def printed(page: Page, source: str) -> str:
    """What a script prints that ends well."""
    result = page.evaluate("source => tensorbrook.runPython(source)", source)
    assert result["error"] is None, result
    return result["stdout"]


# A host with a program that was written by hand: out = 2 x + 1, twice, over the arena.
RAW = """
import asyncio
from array import array
from tensorbrook.backends.webgpu.host_page import Host
from tensorbrook.backends.webgpu.image import Binding, Commands, Copy, Dispatch

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
    again = Binding(0, 0, SIZE, False)
    steps = (Dispatch(0, (x, out), (16, 1, 1)), Copy(out, arena),
             Dispatch(0, (again, out), (16, 1, 1)))
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
RIGHT = [4.0 * i + 3 for i in range(N)]
set_up()
"""


def test_a_program_runs_with_passes_and_copies_in_one_submit(page: Page):
    assert printed(page, RAW + """
before = host.calls, host.submits, host.dispatches
host.run(program, (arena, x, out))
print(host.calls - before[0], host.submits - before[1], host.dispatches - before[2])
print(result() == RIGHT)
""") == "1 1 2\nTrue\n"


def test_a_pipeline_is_made_once_for_all_programs(page: Page):
    assert printed(page, RAW + """
before = host.pipelines
other = host.load(commands())
host.unload(program)
host.run(other, (arena, x, out))
print(host.pipelines - before, result() == RIGHT)
host.load(commands(CODE + "// another"))
print(host.pipelines - before)
""") == "0 True\n1\n"


def test_stamps_tell_when_each_dispatch_began_and_ended(page: Page):
    assert printed(page, RAW + """
timed = host.load(commands(stamps=32))
stamps = host.new(32)
before = host.submits
host.run(timed, (arena, x, out, stamps))
ticks = array("Q", read(stamps, 32)).tolist()
print(host.device_info.tick_ns, ticks[0] > 0, ticks == sorted(ticks), ticks[3] > ticks[0])
print(host.submits - before, result() == RIGHT)
""") == "1 True True True\n2 True\n"


def test_its_subgroups_hold_neighbours(page: Page):
    """Those of SwiftShader are four invocations."""
    assert printed(page, RAW + """
from tensorbrook.backends.webgpu.neighbours import checked
print(host.device_info.subgroups, checked(host).subgroups)
""").split() == ["4", "4"]


def test_a_profile_times_every_kernel(page: Page):
    assert printed(page, """
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


def test_many_runs_queue_up_in_order_and_two_are_under_way(page: Page):
    assert printed(page, RAW + """
most = 0
for i in range(20):
    host.make_room()
    host.run(program, (arena, *((x, out) if i % 2 == 0 else (out, x))))
    most += host._full()
value = 0.0
for _ in range(40):
    value = 2 * value + 1
first = array("f", read(x, 4))[0]
print(first == array("f", [value])[0], most > 0)
""") == "True True\n"


def test_copies_come_before_a_program_and_in_its_submit(page: Page):
    assert printed(page, RAW + """
y, z = host.new(SIZE), host.new(8)
print(array("f", read(y, 8)).tolist())         # what a buffer begins with is zero
before = host.calls, host.submits
host.run(program, (arena, y, out), [(x, y, SIZE), (x, z, 8)])
print(host.calls - before[0], host.submits - before[1], result() == RIGHT)
print([array("f", data).tolist() for data in host.read_many([(z, 8), (out, 4), (y, 8)])])
print(host.calls - before[0], host.submits - before[1])
host.free(y)
""") == "[0.0, 0.0]\n1 1 True\n[[0.0, 1.0], [3.0], [0.0, 1.0]]\n3 3\n"


def test_tasks_of_asyncio_read_too(page: Page):
    assert printed(page, RAW + """
host.run(program, (arena, x, out))
async def first(n):
    return array("f", read(out, 4 * n)).tolist()
async def all_of_them():
    return await asyncio.gather(*[asyncio.ensure_future(first(n)) for n in (1, 2, 3)])
print(asyncio.run(all_of_them()))
""") == "[[3.0], [3.0, 7.0], [3.0, 7.0, 11.0]]\n"


def test_what_a_task_has_opened_is_put_aside_while_it_waits(gpu_browser: Browser, address: str):
    page = opened(gpu_browser, f"{address}run.html?gpu=jspi&backend=webgpu")
    assert printed(page, """
import asyncio
import tensorbrook as tf

x = tf.constant(3.0)

async def other():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x * x
        await asyncio.sleep(0)
    return float(tape.gradient(y, x))

async def waits():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        for _ in range(5):
            float(y + 1.0)
    return float(tape.gradient(y, x))

async def both():
    return await asyncio.gather(asyncio.ensure_future(waits()), asyncio.ensure_future(other()))
print(asyncio.run(both()))
""") == "[6.0, 27.0]\n"
    page.close()


def test_a_shader_that_does_not_compile_is_told_with_its_line(page: Page):
    told = printed(page, RAW + """
print(error(host.load, commands("fn main() {\\n  oops; }")))
print(len(read(out, 4)))
""")
    assert "InternalError" in told and "the kernel" in told and "doubled" in told
    assert "in line 2: oops; }" in told and told.endswith("\n4\n")


def test_a_command_that_is_refused_is_told_by_the_next_read(page: Page):
    told = printed(page, RAW + """
host.run(program, (arena, x, arena))          # a copy of a buffer onto itself
print(error(read, out, 4))
print(len(read(out, 4)))
""")
    assert "InternalError" in told and "the GPU refused a command" in told
    assert told.endswith("\n4\n")


def test_a_lost_device_is_told_until_a_new_one_is_there(gpu_browser: Browser, address: str):
    for transport in TRANSPORTS:
        page = opened(gpu_browser, f"{address}run.html?gpu={transport}")
        assert printed(page, RAW + """
print(host.lost)
for _ in range(3):
    host.run(program, (arena, x, out))
host.destroy()
print(error(read, out, 4)[0], error(host.run, program, (arena, x, out))[0])
print(error(host.load, commands(CODE + "// new"))[0], host.lost is not None)
host.renew()
set_up()
for _ in range(5):
    host.run(program, (arena, x, out))
print(host.lost, result() == RIGHT)
""") == ("None\nUnavailableError UnavailableError\nUnavailableError True\nNone True\n")
        page.close()


def test_memory_that_is_not_there_is_a_memory_error(page: Page):
    """SwiftShader says that it takes buffers of 1 GB, and has no memory for one: each time that the
    driver is asked it refuses, and nothing is used meanwhile."""
    assert printed(page, RAW + """
print(error(host.new, host.device_info.buffer_bytes + 4)[0])
told = [error(host.new, 1 << 30) for _ in range(20)]
print({kind for kind, _ in told}, all("the GPU has no memory left" in text for _, text in told))
host.run(program, (arena, x, out))
print(result() == RIGHT)
""") == "MemoryError\n{'ResourceExhaustedError'} True\nTrue\n"


ENDLESS = RAW + """
print("begun", flush=True)
while True:
    host.run(program, (arena, x, out))
    read(out, 4)
"""


def test_a_script_that_waits_for_the_gpu_again_and_again_stops(page: Page):
    outcome, restarts = stopped(page, ENDLESS, after_ms=None)
    assert (outcome["exit_code"], restarts) == (130, [])
    assert printed(page, RAW + "host.run(program, (arena, x, out))\nprint(result() == RIGHT)") \
        == "True\n"


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
right = cost(model.get_weights)
held = [w.value() for w in model.weights]
cost(lambda: step(batch))
print(right == [t.tolist() for t in held] != [w.tolist() for w in model.weights])
tf.config.set_backend("wasm")
"""


def test_a_training_step_is_one_call_of_the_host_and_one_submit(page: Page):
    """Also when somebody holds what the weights were; and to read them all is one of each."""
    # The page of the tests has no NumPy, and so no arrays to give.
    lists = STEPS.replace("model.get_weights",
                          "lambda: [t.tolist() for t in fetched(model.weights)]")
    assert printed(page, "from tensorbrook.tensor import fetched\n" + lists) == (
        "10 10 10 0 0\n1 0 1 0 0\n1 1 1 0 0\nTrue\n")


INTERRUPTED = """
import sys
import tensorbrook as tf
from tensorbrook import backends
from tensorbrook.backends.webgpu import host_page, journal

tf.config.set_backend("webgpu")
host = backends.backend("webgpu").host
v = tf.Variable([1.0, 2.0])
step = tf.function(lambda: v.assign_add([1.0, 1.0]))
step()

def at_line(n, file):
    def heard(frame, event, arg):
        nonlocal n
        if frame.f_code.co_filename != file:
            return None
        n -= event == "line"
        if n == 0:
            n = -1
            raise KeyboardInterrupt
        return heard
    sys.settrace(heard)
    try:
        step()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return n < 0

done = []
for module in journal, host_page:
    n = 1
    host.keep()
    before = v.tolist()[0]
    while at_line(n, module.__file__):
        done.append(sum(name == "run" for name, *_ in host._state.log))
        if v.tolist()[0] != before + done[-1]:
            print("line", n, "of", module.__name__)
        host.keep()
        n, before = n + 1, v.tolist()[0]
    print(n > 3, sorted(set(done)))
tf.config.set_backend("wasm")
"""


def test_an_interrupt_at_any_line_leaves_what_the_journal_says(page: Page):
    assert printed(page, INTERRUPTED) == "True [0, 1]\nTrue [0, 1]\n"


def test_a_second_visit_compiles_nothing_for_the_gpu(gpu_browser: Browser, address: str):
    context = gpu_browser.new_context()
    first, compiled = visit(context, f"{address}run.html?backend=webgpu", 0)
    second, again = visit(context, f"{address}run.html?backend=webgpu", compiled)
    assert compiled >= 1 and again == 0
    assert first == second
    _, on_wasm = visit(context, f"{address}run.html", compiled)
    assert on_wasm >= 1, "backend wasm has programs of its own"
    context.close()


def test_a_page_that_is_not_isolated_waits_by_switching_stacks(
        gpu_browser: Browser, bare_address: str):
    page = opened(gpu_browser, f"{bare_address}run.html")
    assert page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == "jspi"
    assert printed(page, RAW + "host.run(program, (arena, x, out))\nprint(result() == RIGHT)") \
        == "True\n"
    page.close()


def test_without_isolation_there_is_no_worker_to_wait_for(gpu_browser: Browser, bare_address: str):
    page = opened(gpu_browser, f"{bare_address}run.html?gpu=worker")
    found = page.evaluate("tensorbrook.runtime.boot()")["gpu"]
    assert not found["present"] and "not cross-origin isolated" in found["reason"]
    page.close()


def test_a_page_without_a_gpu_says_so_and_wasm_goes_on(runtime: Page):
    found = runtime.evaluate("tensorbrook.runtime.boot()")["gpu"]
    assert not found["present"] and found["reason"]
    assert "no GPU" in runtime.get_by_test_id("status").inner_text()
    assert printed(runtime, """
import tensorbrook as tf
try:
    tf.config.set_backend("webgpu")
except tf.errors.UnavailableError as error:
    print(error)
print(tf.config.get_backend(), float(tf.constant(1.0) + 1.0))
""") == (f"backend webgpu: {found['reason']}; compute on wasm, or open the page where there is "
         "a GPU (tensorbrook run: --software-gpu lets the processor play it)\n"
         "wasm 2.0\n")


def test_a_callback_that_javascript_calls_plainly_cannot_wait(page: Page):
    told = printed(page, RAW + """
import js
from pyodide.ffi import create_proxy
host.run(program, (arena, x, out))
heard = []
def callback(*_):
    heard.append(error(read, out, 4))
js.Reflect.apply(create_proxy(callback), None, js.Array.new())
print(heard)
""")
    local = page.evaluate("tensorbrook.runtime.boot()")["gpu"]["transport"] == "jspi"
    assert ("cannot wait for the GPU" in told) is local
