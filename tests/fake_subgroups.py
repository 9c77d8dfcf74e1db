"""Emulated subgroups: shuffles through workgroup memory, for subgroups of any size."""
import re

# (DeviceInfo.min_subgroup_size, emulated size). Size None: the subgroups of the test device, or no
# subgroups if the minimum is 0.
CONFIGURATIONS = [(0, None), (4, None), (4, 4), (8, 32), (32, 32), (16, 128)]

_SIZE = re.compile(r"(?:, )?@builtin\(subgroup_size\) subgroup_size: u32,?\n? *")
_SHUFFLE = re.compile(r"subgroupShuffleXor\(([\w()\[\]]+), ")
_MAIN = re.compile(r"@workgroup_size\(([^)]*)\)\nfn main\([^{]*@builtin\(local_invocation_index\) "
                   r"(\w+): u32[^{]*\{")
_EMULATED_SHUFFLE = """
var<private> invocation_index: u32;
var<workgroup> exchange_TYPE: array<TYPE, LANES>;

fn shuffle_xor_TYPE(x: TYPE, mask: u32) -> TYPE {
  workgroupBarrier();
  exchange_TYPE[invocation_index] = x;
  workgroupBarrier();
  let other = invocation_index ^ mask;
  if (other >= LANES || other / SUBGROUP_SIZE != invocation_index / SUBGROUP_SIZE) {
    return TYPE(1 << 30u);
  }
  return exchange_TYPE[other];
}
"""


def with_subgroup_size(code: str, size: int | None) -> str:
    """Emulate subgroups of a size in a shader whose whole workgroup executes every shuffle.

    A read from outside of the subgroup returns a large value, which makes the result wrong."""
    if size is None or "enable subgroups;\n" not in code:
        return code
    code = _SIZE.sub("", code.replace("enable subgroups;\n", ""))
    lanes = _MAIN.search(code)[1]
    types = set()

    def emulated(shuffle: re.Match) -> str:
        function = code[code.rindex("\nfn ", 0, shuffle.start()):shuffle.start()]
        type_name = _type_of(shuffle[1], function)
        types.add(type_name)
        return f"shuffle_xor_{type_name}({shuffle[1]}, "

    code = _SHUFFLE.sub(emulated, code)
    code = _MAIN.sub(lambda main: f"{main[0]}\n  invocation_index = {main[2]};", code)
    for type_name in sorted(types):
        code += _EMULATED_SHUFFLE.replace("TYPE", type_name).replace("LANES", lanes) \
            .replace("SUBGROUP_SIZE", f"{size}u")
    code = code.replace("var<private> invocation_index: u32;\n", "", len(types) - 1)
    return f"{code}\nconst subgroup_size = {size}u;\n"


def _type_of(argument: str, function: str) -> str:
    """Return the type of a shuffle's argument, from declarations in the enclosing function."""
    name = argument.split("[")[0]
    initializer = re.search(rf"var {name} = (\w+);", function)
    declaration = re.search(
        rf"\b{initializer[1] if initializer else name}: (?:array<)?(\w+)", function)
    if argument.startswith("u32("):
        return "u32"
    return declaration[1] if declaration else "f32"
