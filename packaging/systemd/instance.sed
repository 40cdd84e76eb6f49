# cosigner@.service is cosigner.service with this applied: sed -f instance.sed cosigner.service > cosigner@.service
1,4c\
# cosigner: one of several nodes on this host, systemctl start cosigner@NAME.service.\
# Configuration: /etc/cosigner/instances/NAME/. State: /var/lib/cosigner@NAME. Site changes: systemctl edit cosigner@.service\
#\
# Made from cosigner.service by instance.sed; a test compares them.
s|^Description=.*|& %i|
s|/etc/cosigner/|&instances/%i/|
s|^StateDirectory=cosigner$|StateDirectory=cosigner@%i|
s|^RuntimeDirectory=cosigner$|RuntimeDirectory=cosigner@%i|
s|/run/cosigner/control|/run/cosigner@%i/control|
