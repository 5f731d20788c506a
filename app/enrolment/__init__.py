"""Photos of a person become templates: choose faces, refuse what would do harm, store all or nothing."""
