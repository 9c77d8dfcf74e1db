// The values of attention, v (batch, t_k, heads, d_v).

@group(0) @binding(3) var<storage, read> v: array<element>;

fn load_v(p: Offsets) -> vec4f {
  let elements = vec4<element>(v[p.index.x], v[p.index.y], v[p.index.z], v[p.index.w]);
  return select(vec4f(), vec4f(elements), p.inside);
}
