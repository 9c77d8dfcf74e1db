// Attention's v (batch, t_k, heads, d_v).

@group(0) @binding(3) var<storage, read> v: array<element>;

fn v_of(p: Four) -> vec4f {
  let four = vec4<element>(v[p.at.x], v[p.at.y], v[p.at.z], v[p.at.w]);
  return select(vec4f(), vec4f(four), p.inside);
}
