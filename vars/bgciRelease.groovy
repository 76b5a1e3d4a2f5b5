Map call(Map args = [:]) {
    return bgciRun('release', args)
}
