"""What the product does: claims, sections, snapshot, archive, export store, retention."""
