"""Tools of the application that need no experiment: drift and channels of plain files, and tracking one movie."""
