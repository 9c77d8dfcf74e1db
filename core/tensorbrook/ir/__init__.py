"""Layer 1: programs as plain data, before and after they are cut into kernels."""
from .digest import digest
from .graph import PRIMS, Atom, Const, Eqn, Graph, Prim, Reduction, Spec, Var, several
from .kernel import (Apply, Call, Index, Kernel, Limits, Load, Loop, Number, Place, Plan, Reduced,
                     Stage, Step, Store, Value, whole_lines)
from .text import graph_text, plan_text

__all__ = ["PRIMS", "Apply", "Atom", "Call", "Const", "Eqn", "Graph", "Index", "Kernel", "Limits",
           "Load", "Loop", "Number", "Place", "Plan", "Prim", "Reduced", "Reduction", "Spec",
           "Stage", "Step", "Store", "Value", "Var", "digest", "graph_text", "plan_text", "several",
           "whole_lines"]
