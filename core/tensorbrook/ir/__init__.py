"""Layer 1: programs as plain data, before and after they are cut into kernels."""
from .body import Subgraph, interpret, walk_equations, clone_graph
from .digest import digest
from .graph import (PRIMITIVES, Atom, Const, Eqn, Graph, Primitive, Reduction, TensorSpec, Var, kernel_name,
                    as_tuple)
from .kernel import (ElementwiseOp, KernelCall, Carry, IndexValue, Kernel, TargetInfo, Load, LoopKernel, FiniteCheckStore, ScalarConstant, ScanSlice,
                     BufferLocation, Plan, ReduceOp, ScanKernel, RowPass, ScheduledKernel, Store, Value, generated_loop,
                     align_up)
from .printer import format_graph, format_plan

__all__ = ["PRIMITIVES", "ElementwiseOp", "Atom", "Subgraph", "KernelCall", "Carry", "Const", "Eqn", "Graph", "IndexValue",
           "Kernel", "TargetInfo", "Load", "LoopKernel", "FiniteCheckStore", "ScalarConstant", "ScanSlice", "BufferLocation", "Plan", "Primitive",
           "ReduceOp", "Reduction", "ScanKernel", "TensorSpec", "RowPass", "ScheduledKernel", "Store", "Value", "Var",
           "digest", "interpret", "walk_equations", "kernel_name", "generated_loop", "format_graph",
           "format_plan", "clone_graph", "as_tuple", "align_up"]
