"""Result JSON in, tables, figures, verdicts and a report out. Never imports torch or pymatgen."""
