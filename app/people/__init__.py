"""Who can be recognised: create, find, change, erase, import and export."""
