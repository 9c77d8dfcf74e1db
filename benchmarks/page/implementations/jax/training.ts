/** Training steps in jax-js: one jitted function from state to state. */

import { blockUntilReady, jit, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import {
  type Arrays, losses, type Options, type Prepared, sample, timeSteps, type Workload,
} from "../../workload";
import { type Array, tensor } from "./common";
import type { Params } from "./layers";

export type Loss = (params: Params, x: Array, y: Array) => Array;
type State = { params: Params; m: Params; v: Params; t: Array };

/** Learning rate and epsilon of Adam. */
const [RATE, EPSILON] = [0.001, 1e-7];

/** Adam (Kingma and Ba, 2015) with AdamW's decay; jax-js itself has no optimizers. */
function adam({ params, m, v, t }: State, grads: Params, decay: number): State {
  const step = t.add(1);
  const scale = np.sqrt(np.subtract(1, np.power(0.999, step.ref)))
    .div(np.subtract(1, np.power(0.9, step.ref))).mul(RATE);
  const mean = tree.map((a: Array, g: Array) => a.mul(0.9).add(g.mul(0.1)), m, tree.ref(grads));
  const square = tree.map(
    (a: Array, g: Array) => a.mul(0.999).add(np.square(g).mul(0.001)), v, grads);
  const updated = tree.map(
    (p: Array, a: Array, b: Array) =>
      (decay ? p.mul(1 - decay * RATE) : p).sub(a.mul(scale.ref).div(np.sqrt(b).add(EPSILON))),
    params, tree.ref(mean), tree.ref(square));
  scale.dispose();
  return { params: updated, m: mean, v: square, t: step };
}

function initialState(params: Params): State {
  const zeros = (): Params => tree.map((p: Array) => np.zeros(p.shape), params);
  return { params, m: zeros(), v: zeros(), t: np.array(0) };
}

export async function training(
  options: Options, loss: Loss, params: Params, x: Array, y: Array, decay = 0,
): Promise<Prepared> {
  const step = jit((state: State, inputs: Array, labels: Array): [Array, State] => {
    const [value, grads] = valueAndGrad(
      (p: Params) => loss(p, inputs, labels))(tree.ref(state.params));
    return [value, adam(state, grads, decay)];
  });
  let state = initialState(params);
  const advance = async (): Promise<Array> => {
    const [value, next] = step(state, x.ref, y.ref);
    state = next;
    await blockUntilReady([value, next]);
    return value;
  };
  return {
    check: await losses(options, async () => (await (await advance()).data())[0] ?? NaN),
    runSteps: (steps) => timeSteps(steps, async () => (await advance()).dispose()),
    dispose: () => tree.dispose([state, x, y]),
  };
}

/** An optimizer's update alone. */
export async function adamw(_: Workload, arrays: Arrays): Promise<Prepared> {
  const step = jit((state: State, g: Array): State => adam(state, { p: g }, 0.004));
  const g = tensor(arrays, "g");
  let state = initialState({ p: tensor(arrays, "p") });
  const advance = async (): Promise<void> => {
    state = step(state, g.ref);
    await blockUntilReady(state);
  };
  await advance();
  await advance();
  const updated = await state.params.p?.ref.data() ?? [];
  return {
    check: sample(updated),
    runSteps: (steps) => timeSteps(steps, advance),
    dispose: () => tree.dispose([state, g]),
  };
}
