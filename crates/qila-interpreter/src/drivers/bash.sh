# Run by Qila as one shell for a context: reads cells from its input, runs each in itself, and marks the end of each.
# A cell: how many variables; then for each of them and for the code its length in bytes, a newline, and the bytes.
__qila_mark=$QILA_MARK
unset QILA_MARK
trap ':' INT
exec 9<&0 </dev/null 7>&1 8>&2 # marks are seen wherever a cell has sent its own output
__qila_read() { # length -> __qila_word
    __qila_word=
    [ "$1" -eq 0 ] || LC_ALL=C IFS= read -r -d '' -N "$1" -u 9 __qila_word
}
printf '\x1e%s ready\n' "$__qila_mark" >&7
printf '\x1e%s ready\n' "$__qila_mark" >&8
while IFS= read -r -u 9 __qila_n; do
    __qila_names=()
    __qila_old=()
    __qila_exported=()
    for ((__qila_i = 0; __qila_i < __qila_n; __qila_i++)); do
        IFS= read -r -u 9 __qila_length
        __qila_read "$__qila_length"
        __qila_name=${__qila_word%%=*}
        __qila_names+=("$__qila_name")
        __qila_old+=("${!__qila_name-$'\x1e'}")
        __qila_exported+=("${!__qila_name+${!__qila_name@a}}") # its attributes, x among them
        export "$__qila_name=${__qila_word#*=}"
    done
    IFS= read -r -u 9 __qila_length
    __qila_read "$__qila_length"
    [ -n "$(trap -p INT)" ] || trap ':' INT # where a cell has removed it, an INT would end the shell
    eval "$__qila_word" 7>&- 8>&- 9<&-
    __qila_status=$?
    for ((__qila_i = 0; __qila_i < ${#__qila_names[@]}; __qila_i++)); do
        if [ "${__qila_old[__qila_i]}" = $'\x1e' ]; then
            unset "${__qila_names[__qila_i]}"
        elif [[ ${__qila_exported[__qila_i]} == *x* ]]; then
            export "${__qila_names[__qila_i]}=${__qila_old[__qila_i]}"
        else
            export -n "${__qila_names[__qila_i]}=${__qila_old[__qila_i]}"
        fi
    done
    printf '\x1e%s %s\n' "$__qila_mark" "$__qila_status" >&7
    printf '\x1e%s 0\n' "$__qila_mark" >&8
done
