"""DHCP, TFTP, iPXE and HTTP boot behind one Decide callable; knows neither database nor IPAM."""
