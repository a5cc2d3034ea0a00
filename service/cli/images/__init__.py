"""`roundhouse image …`: what is done to the image store on this machine."""
