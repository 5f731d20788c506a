"""Why a face was taken for somebody: which parts of it made the score, beside the template it came nearest to."""
