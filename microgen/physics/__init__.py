"""Properties by solving the equations on the grid: the ground truth for what models predict."""
