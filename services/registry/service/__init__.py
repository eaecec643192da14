"""Load, decide, save: one transaction per request, committed at the edge. Reads, and writes by feature."""
