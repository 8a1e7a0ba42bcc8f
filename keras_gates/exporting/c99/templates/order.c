enum { INPUT, FORGET, CELL, OUTPUT }; /* the order of the gates in the file */
