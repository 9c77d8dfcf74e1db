"""Devices with subgroups of any size, played by one that has some size or none."""
import re

# Facts' least subgroup, and how large subgroups are: None for those of this machine's device. Where
# the least is 0 shaders do without.
WAYS = [(0, None), (4, None), (4, 4), (8, 32), (32, 32), (16, 128)]

_SIZE = re.compile(r"(?:, )?@builtin\(subgroup_size\) subgroup_size: u32,?\n? *")
_SHUFFLE = re.compile(r"subgroupShuffleXor\(([\w()\[\]]+), ")
_MAIN = re.compile(r"@workgroup_size\(([^)]*)\)\nfn main\([^{]*@builtin\(local_invocation_index\) "
                   r"(\w+): u32[^{]*\{")
_PLAYED = """
var<private> invocation_index: u32;
var<workgroup> exchange_KIND: array<KIND, LANES>;

fn shuffle_xor_KIND(x: KIND, mask: u32) -> KIND {
  workgroupBarrier();
  exchange_KIND[invocation_index] = x;
  workgroupBarrier();
  let other = invocation_index ^ mask;
  if (other >= LANES || other / SUBGROUP_SIZE != invocation_index / SUBGROUP_SIZE) {
    return KIND(1 << 30u);
  }
  return exchange_KIND[other];
}
"""


def played(code: str, size: int | None) -> str:
    """A shader that does what `code` does where subgroups have that size, on any device: they
    shuffle through workgroup memory, as the whole workgroup comes to each shuffle. What would come
    from beyond a subgroup is a number that shows."""
    if size is None or "enable subgroups;\n" not in code:
        return code
    code = _SIZE.sub("", code.replace("enable subgroups;\n", ""))
    lanes = _MAIN.search(code)[1]
    kinds = set()

    def call(found: re.Match) -> str:
        function = code[code.rindex("\nfn ", 0, found.start()):found.start()]
        kind = _kind_of(found[1], function)
        kinds.add(kind)
        return f"shuffle_xor_{kind}({found[1]}, "

    code = _SHUFFLE.sub(call, code)
    code = _MAIN.sub(lambda found: f"{found[0]}\n  invocation_index = {found[2]};", code)
    for kind in sorted(kinds):
        code += _PLAYED.replace("KIND", kind).replace("LANES", lanes) \
            .replace("SUBGROUP_SIZE", f"{size}u")
    code = code.replace("var<private> invocation_index: u32;\n", "", len(kinds) - 1)
    return f"{code}\nconst subgroup_size = {size}u;\n"


def _kind_of(text: str, function: str) -> str:
    """The type of what a function shuffles: that of a variable, or of the argument it begins as."""
    name = text.split("[")[0]
    begun = re.search(rf"var {name} = (\w+);", function)
    declared = re.search(rf"\b{begun[1] if begun else name}: (?:array<)?(\w+)", function)
    return "u32" if text.startswith("u32(") else declared[1] if declared else "f32"
