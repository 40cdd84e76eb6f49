# UNIT@.TYPE is UNIT.TYPE with this applied: sed -f instance.sed cosigner.service > cosigner@.service
/^# Several nodes on one host:/c\
# Made from the unit without an instance by instance.sed; a test compares them.
s|^# cosigner: one node of a threshold-signing cluster\.|# cosigner: one of several nodes on this host, systemctl start cosigner@NAME.service.|
s|^# Site changes go into a drop-in: .*|# Configuration: /etc/cosigner/instances/NAME/. State: /var/lib/cosigner@NAME. Site changes: systemctl edit cosigner@.service|
s|^# The control socket of cosigner\.service|# The control socket of cosigner@NAME.service|
s|^Description=.*|& %i|
/^#/!s|/etc/cosigner/|&instances/%i/|
s|^StateDirectory=cosigner$|StateDirectory=cosigner@%i|
s|/run/cosigner/control|/run/cosigner@%i/control|
s|=cosigner\.service$|=cosigner@%i.service|
s|=cosigner-control\.socket$|=cosigner-control@%i.socket|
s| cosigner-control\.socket'$| cosigner-control@%i.socket'|
