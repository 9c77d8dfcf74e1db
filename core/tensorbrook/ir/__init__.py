"""Layer 1: the intermediate representation, as plain data: graphs, kernels and plans."""
from .digest import digest
from .graph import (
    PRIMITIVES, Atom, Const, Eqn, Graph, Primitive, Reduction, TensorSpec, Var, as_tuple,
    kernel_name)
from .interpret import interpret
from .kernels import (
    Carry, ElementwiseOp, FiniteCheckStore, IndexValue, Kernel, KernelCall, Load, LoopKernel,
    ReduceOp, RowPass, ScalarConstant, ScanKernel, ScanSlice, Store, Value, generated_loop)
from .plan import BufferLocation, Plan, ScheduledKernel, TargetInfo, align_up
from .printer import format_graph, format_plan
from .subgraph import Subgraph, clone_graph, walk_equations

__all__ = ["PRIMITIVES", "Atom", "BufferLocation", "Carry", "Const", "ElementwiseOp", "Eqn",
           "FiniteCheckStore", "Graph", "IndexValue", "Kernel", "KernelCall", "Load",
           "LoopKernel", "Plan", "Primitive", "ReduceOp", "Reduction", "RowPass",
           "ScalarConstant", "ScanKernel", "ScanSlice", "ScheduledKernel", "Store", "Subgraph",
           "TargetInfo", "TensorSpec", "Value", "Var", "align_up", "as_tuple", "clone_graph",
           "digest", "format_graph", "format_plan", "generated_loop", "interpret",
           "kernel_name", "walk_equations"]
