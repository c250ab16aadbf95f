set -e
T=$(mktemp -d); touch $T/index.txt; echo 01 > $T/serial
cat > $T/c.cnf <<C
[ca]
default_ca=d
[d]
database=$T/index.txt
serial=$T/serial
new_certs_dir=$T
default_md=sha256
policy=p
unique_subject=no
copy_extensions=copy
[p]
commonName=supplied
[req]
distinguished_name=dn
[dn]
[v3ca]
basicConstraints=critical,CA:TRUE
C
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -config $T/c.cnf $key -subj "/CN=onqueue tests" -keyout $T/ca.key -out $T/ca.csr
openssl ca -batch -config $T/c.cnf -selfsign -keyfile $T/ca.key -in $T/ca.csr -extensions v3ca -startdate 20200101000000Z -enddate 21200101000000Z -out ca.pem -notext
mk() { openssl req -config $T/c.cnf $key -subj "/CN=$1" -addext "subjectAltName=$2" -keyout $1.key -out $T/$1.csr
  openssl ca -batch -config $T/c.cnf -keyfile $T/ca.key -cert ca.pem -in $T/$1.csr -startdate 20200101000000Z -enddate $3 -out $1.pem -notext; }
mk valid IP:127.0.0.1 21200101000000Z
mk expired IP:127.0.0.1 20210101000000Z
mk other-name DNS:elsewhere.test 21200101000000Z
openssl req -config $T/c.cnf $key -subj "/CN=self-signed" -addext "subjectAltName=IP:127.0.0.1" -keyout self-signed.key -out $T/ss.csr
openssl ca -batch -config $T/c.cnf -selfsign -keyfile self-signed.key -in $T/ss.csr -startdate 20200101000000Z -enddate 21200101000000Z -out self-signed.pem -notext
