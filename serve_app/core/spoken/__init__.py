"""How what is written in figures, signs and short forms is said in English and in Chinese."""
