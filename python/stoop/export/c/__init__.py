"""Networks as C headers: steps in float or in integers become statements, and `kernels.c` has what they call."""
