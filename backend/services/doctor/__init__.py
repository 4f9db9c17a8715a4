"""``dsar doctor``: what is wrong with an installation, and how it is mended. Changes nothing."""
