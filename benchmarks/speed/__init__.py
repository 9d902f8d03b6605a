"""How fast the operators are, beside what their users run today."""
