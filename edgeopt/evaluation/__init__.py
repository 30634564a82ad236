"""How good a file is: metrics, scores with intervals, budgets, reports; imports the light rooms, never TensorFlow."""
