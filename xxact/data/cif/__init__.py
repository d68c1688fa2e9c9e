"""From the text of a CIF to a crystal: blocks of tags, symbols, symmetry, composition."""
