"""Rules of script, plan, seam and sound; stdlib, numpy and sentencex only."""
