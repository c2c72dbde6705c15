# advice PACKAGE [NAME]: the line that installs the package on this system, for run.sh and trip.sh.
# NAME is what Homebrew and FreeBSD call it.
advice() {
    for tool in apt-get dnf zypper pacman apk brew pkg; do
        command -v "$tool" >/dev/null || continue
        case $tool in
            pacman) echo "pacman -S $1" ;;
            apk) echo "apk add $1" ;;
            brew | pkg) echo "$tool install ${2-$1}" ;;
            *) echo "$tool install $1" ;;
        esac
        return
    done
    echo "install $1"
}
